# Linear mixed models of ranks by R's rank() and ave(): `Rscript tests/reference/lib/ranked.R folder` reads
# folder/cases.csv and folder/data.csv, and writes folder/ranked.csv.

source("tests/reference/lib/tables.R")
source("tests/reference/lib/data.R")
suppressMessages(library(lmerTest))

folder <- commandArgs(TRUE)[1]
cases <- utils::read.csv(file.path(folder, "cases.csv"), colClasses = "character")
all_rows <- with_sorted_text(utils::read.csv(file.path(folder, "data.csv")))
parts <- lapply(seq_len(nrow(cases)), function(i) {
  case <- cases[i, ]
  formula <- stats::as.formula(case$formula)
  data <- all_rows[stats::complete.cases(all_rows[all.vars(formula)]), ]
  for (name in strsplit(case$ranked, ";")[[1]]) {
    data[[name]] <- if (nzchar(case$group)) {
      stats::ave(as.numeric(data[[name]]), data[[case$group]], FUN = rank)
    } else {
      rank(data[[name]])
    }
  }
  model <- suppressMessages(lmer(formula, data))
  list(
    long(case$id, "coefs", summary(model)$coefficients), long(case$id, "fitted", cut_long(fitted(model), 8)),
    long(case$id, "logLik", as.vector(logLik(model)))
  )
})
write_long(file.path(folder, "ranked.csv"), header(), unlist(parts, recursive = FALSE))
