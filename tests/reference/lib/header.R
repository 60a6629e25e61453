# The software at hand, as the header of a file written now would name it; the packages as arguments.

source("tests/reference/lib/tables.R")
writeLines(header(packages = commandArgs(TRUE)))
