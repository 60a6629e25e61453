# Tests of terms, random effects, least-squares means and contests by lmerTest alone, written to anova.csv:
# `Rscript tests/reference/anova.R [folder]` from the root of the repository. The models are those of
# anova_models.csv, the contests those of anova_contrasts.csv.

source("tests/reference/lib/data.R")
source("tests/reference/lib/tables.R")
source("tests/reference/lib/mixed.R")
suppressMessages(library(lmerTest))

describe_row <- function(row, model) {
  tell <- function(table, value) long(row$id, table, value)
  by_ddf <- lapply(c("Satterthwaite", if (row$kenward_roger == "TRUE") "Kenward-Roger"), function(ddf) {
    tests <- lapply(1:3, function(type) tell(paste("anova", type, ddf), as.matrix(anova(model, type = type, ddf = ddf))))
    factors <- names(Filter(is.factor, model@frame[all.vars(formula(model, fixed.only = TRUE))]))
    means <- lapply(factors, function(variable) {
      found <- ls_means(model, which = variable, ddf = ddf)
      pairs <- ls_means(model, which = variable, ddf = ddf, pairwise = TRUE)
      list(tell(paste("means", variable, ddf), numbers(found)), tell(paste("pairs", variable, ddf), numbers(pairs)))
    })
    c(tests, unlist(means, recursive = FALSE), list(tell(paste("coefs", ddf), summary(model, ddf = ddf)$coefficients)))
  })
  random <- eval(quote(ranova(model)), list(model = model), environment(formula(model)))
  c(unlist(by_ddf, recursive = FALSE), list(tell("ranova", as.matrix(as.data.frame(random)))))
}

numbers <- function(table) {
  class(table) <- "data.frame"
  as.matrix(table[vapply(table, is.numeric, NA)])
}

# Contrasts of the means of a factor, averaged over all cells of the others, covariates at their means.
contest_row <- function(case, model) {
  frame <- model@frame[all.vars(formula(model, fixed.only = TRUE))[-1]]
  grid <- do.call(expand.grid, lapply(frame, function(x) if (is.factor(x)) factor(levels(x), levels(x)) else mean(x)))
  X <- stats::model.matrix(delete.response(terms(model)), grid)
  levels <- levels(grid[[case$variable]])
  means <- t(vapply(levels, function(level) colMeans(X[grid[[case$variable]] == level, , drop = FALSE]), X[1, ]))
  contrasts <- strsplit(strsplit(case$contrasts, "|", fixed = TRUE)[[1]], ":", fixed = TRUE)
  K <- do.call(rbind, lapply(contrasts, function(part) as.numeric(strsplit(part[2], ";")[[1]])))
  found <- contest(model, K %*% means, joint = FALSE, confint = TRUE, ddf = case$ddf)
  rownames(found) <- vapply(contrasts, `[`, "", 1)
  list(long(case$id, "contest", as.matrix(found)))
}

folder <- c(commandArgs(TRUE), "tests/reference")[1]
models <- read_rows("tests/reference/anova_models.csv")
fits <- lapply(models, function(row) fit_row(row)$value)
parts <- Map(describe_row, models, fits)
contests <- lapply(read_rows("tests/reference/anova_contrasts.csv"), function(case) contest_row(case, fits[[case$model]]))
write_long(file.path(folder, "anova.csv"), header("pbkrtest"), unlist(c(parts, contests), recursive = FALSE))
