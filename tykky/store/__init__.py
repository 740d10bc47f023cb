"""Where images live: named by key, staged privately, committed by rename."""
