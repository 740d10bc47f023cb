"""P, the environment directory: generations, publishing, launcher templates."""
