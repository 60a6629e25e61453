# Limits and tests that resample, by lme4 alone: `Rscript tests/reference/lib/resampled.R folder` reads
# folder/cases.csv, models of a case file with the questions put to each, and folder/seeds.csv, a seed a draw.

source("tests/reference/lib/data.R")
source("tests/reference/lib/tables.R")
source("tests/reference/lib/versions.R")
source("tests/reference/lib/mixed.R")
suppressMessages(library(lme4))

# In the order of confint().
parameters <- function(model) {
  unname(c(variances_of(model, order = "lower.tri")$sdcor, fixef(model)))
}

with_seed <- function(seed, draw) {
  set.seed(seed, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")
  draw()
}

# What a new fit of the model to another outcome gives, NA where R has none. lme4's own refit() of a linear model
# minimizes another criterion than its REML fit did (version 1.1-31), so the call is made again.
refitted <- function(model, response, tell, like) {
  env <- new.env(parent = environment(formula(model)))
  fit <- function() {
    if (!isLMM(model)) return(refit(model, response))
    env$.outcome <- response
    call <- model@call
    call[[1]] <- quote(lme4::lmer)
    call$formula <- formula(model)
    call$formula[[2]] <- quote(.outcome)
    environment(call$formula) <- env
    eval(call, env)
  }
  tryCatch(tell(suppressWarnings(suppressMessages(fit()))), error = function(e) like * NA)
}

# An outcome with new random effects. lme4's simulate() of a gamma or inverse Gaussian model takes the inverse's root
# of its shape for the shape (version 1.1-31).
new_outcome <- function(model) {
  family <- family(model)$family
  if (!family %in% c("gaussian", "Gamma", "inverse.gaussian")) return(simulate(model, 1)[[1]])
  Z <- Matrix::t(getME(model, "Zt"))
  effects <- (if (is_scaled(model)) sigma(model) else 1) * getME(model, "Lambda") %*% rnorm(ncol(Z))
  eta <- as.vector(getME(model, "X") %*% fixef(model) + Z %*% effects)
  mean <- family(model)$linkinv(eta)
  n <- length(mean)
  switch(family,
    gaussian = rnorm(n, mean, sigma(model)),
    Gamma = rgamma(n, shape = 1 / sigma(model)^2, rate = 1 / (mean * sigma(model)^2)),
    inverse.gaussian = inverse_gaussian(mean, 1 / sigma(model)^2)
  )
}

# Michael, Schucany & Haas (1976), The American Statistician 30.
inverse_gaussian <- function(mean, shape) {
  y <- rnorm(length(mean))^2
  low <- mean + mean^2 * y / (2 * shape) - mean / (2 * shape) * sqrt(4 * mean * shape * y + mean^2 * y^2)
  ifelse(runif(length(mean)) <= mean / (mean + low), low, mean^2 / low)
}

# A model refitted to its own simulation is one replicate of a parametric bootstrap.
bootstrap <- function(model, seeds) {
  t(vapply(seeds, function(seed) {
    refitted(model, with_seed(seed, function() new_outcome(model)), parameters, parameters(model))
  }, parameters(model)))
}

# The outcome shuffled within the levels of a grouping factor, rows sorted by group.
permutation <- function(model, seeds, group) {
  response <- model.response(model.frame(model))
  cluster <- as.integer(getME(model, "flist")[[group]])
  sorted <- order(cluster)
  statistics <- function(fit) fixef(fit) / errors_of(fit)
  t(vapply(seeds, function(seed) {
    key <- with_seed(seed, function() runif(length(cluster)))
    shuffled <- order(cluster, key)
    new <- as.matrix(response)
    new[sorted, ] <- new[shuffled, ]
    refitted(model, if (is.matrix(response)) new else new[, 1], statistics, fixef(model))
  }, fixef(model)))
}

# Percentile limits as boot::boot.ci() takes them; it leaves out what is not finite.
percentiles <- function(draws) {
  made <- structure(list(R = length(draws), sim = "parametric"), class = "boot")
  suppressWarnings(boot::boot.ci(made, type = "perc", t0 = 0, t = draws))$percent[4:5]
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
    tell("fit", cbind(b = fixef(model), se = errors_of(model))),
    if ("boot" %in% asked) tell("boot", t(apply(draws, 2, percentiles))),
    if ("boot" %in% asked) tell("draws", draws),
    if ("permute" %in% asked) tell("permute", permutation(model, seeds$permute, 1)),
    if ("profile" %in% asked) {
      tell("profile", suppressMessages(limits_by_name(model, method = "profile", quiet = TRUE)))
    }
  )
})
write_long(file.path(folder, "resampled.csv"), header(), unlist(parts, recursive = FALSE))
