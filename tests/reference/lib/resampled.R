# Limits and tests that resample, by lme4 alone: `Rscript tests/reference/lib/resampled.R folder` reads
# folder/cases.csv, models of a case file with the questions put to each, and folder/seeds.csv, a seed a draw.

source("tests/reference/lib/data.R")
source("tests/reference/lib/tables.R")
source("tests/reference/lib/mixed.R")
suppressMessages(library(lme4))

parameters <- function(model) {
  random <- as.data.frame(VarCorr(model), order = "lower.tri")
  c(random$sdcor, fixef(model))
}

with_seed <- function(seed, draw) {
  set.seed(seed, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")
  draw()
}

# What a refit gives, NA where R can't refit.
refitted <- function(model, response, tell, like) {
  tryCatch(tell(suppressWarnings(suppressMessages(refit(model, response)))), error = function(e) like * NA)
}

# A model refitted to its own simulation is one replicate of a parametric bootstrap.
bootstrap <- function(model, seeds) {
  t(vapply(seeds, function(seed) {
    response <- with_seed(seed, function() simulate(model, 1)[[1]])
    refitted(model, response, parameters, parameters(model))
  }, parameters(model)))
}

# The outcome shuffled within the levels of a grouping factor, rows sorted by group.
permutation <- function(model, seeds, group) {
  response <- model.response(model.frame(model))
  cluster <- as.integer(getME(model, "flist")[[group]])
  sorted <- order(cluster)
  statistics <- function(fit) fixef(fit) / sqrt(diag(as.matrix(vcov(fit))))
  t(vapply(seeds, function(seed) {
    key <- with_seed(seed, function() runif(length(cluster)))
    shuffled <- order(cluster, key)
    new <- as.matrix(response)
    new[sorted, ] <- new[shuffled, ]
    refitted(model, if (is.matrix(response)) new else new[, 1], statistics, fixef(model))
  }, fixef(model)))
}

folder <- commandArgs(TRUE)[1]
cases <- read_rows(file.path(folder, "cases.csv"))
seeds <- utils::read.csv(file.path(folder, "seeds.csv"))
parts <- lapply(cases, function(case) {
  model <- fit_row(case)$value
  if (methods::is(model, "lmerModLmerTest")) model <- methods::as(model, "lmerMod")
  tell <- function(table, value) long(case$id, table, value)
  asked <- strsplit(case$asked, ";")[[1]]
  draws <- if ("boot" %in% asked) bootstrap(model, seeds$boot)
  list(
    if ("boot" %in% asked) tell("boot", t(apply(draws, 2, quantile, c(0.025, 0.975), na.rm = TRUE))),
    if ("boot" %in% asked) tell("draws", draws),
    if ("permute" %in% asked) tell("permute", permutation(model, seeds$permute, 1)),
    if ("profile" %in% asked) {
      tell("profile", suppressMessages(confint(model, method = "profile", oldNames = FALSE, quiet = TRUE)))
    }
  )
})
write_long(file.path(folder, "resampled.csv"), header(), unlist(parts, recursive = FALSE))
