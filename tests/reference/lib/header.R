# The software at hand, as the header of a file written now would name it.

source("tests/reference/lib/tables.R")
writeLines(header())
