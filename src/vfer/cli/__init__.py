"""The command line, `vfer`, and the console that commands and stages share."""
