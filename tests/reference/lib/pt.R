# Two-sided p of t by R: one line `t df` a value on standard input, one p a line in return.

values <- utils::read.table(file("stdin"), colClasses = "numeric")
writeLines(sprintf("%.17g", 2 * stats::pt(abs(values[[1]]), values[[2]], lower.tail = FALSE)))
