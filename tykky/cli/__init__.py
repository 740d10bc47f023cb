"""The command line: parse, call, render. One file per verb, one error boundary."""
