# The software at hand, as the header of a file written now would name it; more packages as arguments.

source("tests/reference/lib/tables.R")
writeLines(header(commandArgs(TRUE)))
