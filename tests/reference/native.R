# Regressions without random effects by R's lm, glm, MASS and sandwich alone, written to native.csv:
# `Rscript tests/reference/native.R [folder]` from the root of the repository. The models are those of
# native_cases.csv, over the rows of simulated.csv; those with a group are fitted in each of its levels.

source("tests/reference/lib/data.R")
source("tests/reference/lib/tables.R")
source("tests/reference/lib/mixed.R")
suppressMessages({
  library(MASS)
  library(sandwich)
  library(splines)
})

tight <- glm.control(epsilon = 1e-300, maxit = 200)

is_normal <- function(row) row$family %in% c("binomial", "poisson", "nbinom")

fit_native <- function(row, data) {
  formula <- stats::as.formula(if (nzchar(row$r_formula)) row$r_formula else row$formula)
  how <- list(formula = formula, data = data[stats::complete.cases(data[all.vars(formula)]), ])
  if (nzchar(row$weights)) how$weights <- as.name(row$weights)
  if (nzchar(row$offset)) how$offset <- as.name(row$offset)
  if (is_linear(row)) return(do.call(lm, how))
  if (row$family == "nbinom") {
    if (nzchar(row$link)) how$link <- as.name(row$link)
    return(with_exact_theta(suppressWarnings(do.call(glm.nb, c(how, list(control = tight)))), how))
  }
  how$family <- eval(family_call(row))
  exact_glm(how, started(row))
}

# glm() stops where the deviance is flat, where errors are not yet exact: so it starts there again.
exact_glm <- function(how, start) {
  how$control <- tight
  for (again in 1:5) {
    how$start <- start
    model <- suppressWarnings(do.call(glm, how))
    start <- coef(model)
  }
  model
}

# glm.nb() leaves theta where a step is below 1e-4: so the two steps that it alternates go on.
with_exact_theta <- function(model, how) {
  link <- model$family$link
  w <- model$prior.weights
  how$link <- NULL
  for (again in 1:6) {
    theta <- as.vector(theta.ml(model$y, fitted(model), sum(w), w, limit = 100, eps = 1e-13))
    how$family <- do.call(negative.binomial, list(theta, link))
    model <- exact_glm(how, coef(model))
  }
  model$theta <- theta
  model$twologlik <- 2 * sum(w * stats::dnbinom(model$y, theta, mu = fitted(model), log = TRUE))
  class(model) <- c("negbin", class(model))
  model
}

started <- function(row) if (row$id == "binomial_log") c(-1, 0)

covariance <- function(model, kind, cluster) {
  switch(kind,
    iid = vcov(model),
    hac = NeweyWest(model, lag = 3, prewhite = FALSE, adjust = FALSE),
    cluster = vcovCL(model, cluster = cluster, type = "HC1", cadjust = TRUE),
    vcovHC(model, type = toupper(kind))
  )
}

table_of <- function(b, V, df) {
  se <- sqrt(diag(V))
  limits <- b + se %o% (qt(0.975, df) * c(-1, 1))
  cbind(
    estimate = b, lower = limits[, 1], upper = limits[, 2], se = se, df = df, statistic = b / se,
    p = 2 * pt(-abs(b / se), df)
  )
}

facts <- function(row, model) {
  found <- c(AIC = AIC(model), BIC = BIC(model), logLik = as.vector(logLik(model)), df = df.residual(model), n = nobs(model))
  if (!is_linear(row)) {
    scale <- if (row$family == "nbinom") model$theta else summary(model)$dispersion
    return(c(found, deviance = deviance(model), null = model$null.deviance, scale = scale))
  }
  # Before R 4.5 an offset counts as explained.
  offset <- if (is.null(model$offset)) 0 else model$offset
  explained <- if (getRversion() < "4.5.0") fitted(model) - offset else fitted(model)
  told <- summary(replace(model, "fitted.values", list(explained)))
  c(found, sigma = told$sigma, r_squared = told$r.squared, r_squared_adj = told$adj.r.squared)
}

predictions <- function(row, model, data) {
  near <- data[stats::complete.cases(data), ][1:7, ]
  link <- predict(model, near, type = if (is_linear(row)) "response" else "link", se.fit = TRUE)
  found <- cbind(response = predict(model, near, type = "response"), link = link$fit, se = link$se.fit)
  if (!is_linear(row) || nzchar(row$offset)) return(found)
  limits <- lapply(c("confidence", "prediction"), function(interval) {
    suppressWarnings(predict(model, near, interval = interval, level = 0.9))[, c("lwr", "upr")]
  })
  found <- cbind(found, do.call(cbind, limits))
  colnames(found)[4:7] <- c("lower", "upper", "new_lower", "new_upper")
  found
}

describe_one <- function(row, data) {
  tell <- function(table, value) long(row$id, table, value)
  model <- fit_native(row, data)
  clusters <- data$g[as.integer(names(fitted(model)))]
  by_kind <- lapply(strsplit(row$kinds, " ")[[1]], function(kind) {
    V <- covariance(model, kind, clusters)
    few <- length(unique(clusters)) - ncol(V)
    df <- if (is_normal(row)) Inf else if (kind == "cluster") few else df.residual(model)
    list(tell(paste("vcov", kind), V), tell(paste("coefs", kind), table_of(coef(model), V, df)))
  })
  c(
    unlist(by_kind, recursive = FALSE),
    list(
      tell("facts", facts(row, model)), tell("fitted", cut_long(fitted(model), 8)),
      tell("residuals", cut_long(residuals(model), 8)), tell("predictions", predictions(row, model, data))
    )
  )
}

# The second level: each column of coefficients by itself, groups in the order in which they first appear.
describe_groups <- function(row, data) {
  tell <- function(table, value) long(row$id, table, value)
  groups <- as.character(unique(data[[row$group]]))
  fits <- lapply(groups, function(group) fit_native(row, data[data[[row$group]] == group, ]))
  b <- do.call(rbind, lapply(fits, coef))
  rownames(b) <- groups
  block <- as.integer(groups) %% 5
  by_kind <- lapply(strsplit(row$kinds, " ")[[1]], function(kind) {
    rows <- lapply(seq_len(ncol(b)), function(column) {
      value <- b[, column]
      mean <- lm(value ~ 1)
      table_of(coef(mean), covariance(mean, kind, block), if (kind == "cluster") 4 else nrow(b) - 1)
    })
    found <- do.call(rbind, rows)
    rownames(found) <- colnames(b)
    tell(paste("coefs", kind), found)
  })
  likelihood <- c(logLik = sum(vapply(fits, logLik, 0)), AIC = sum(vapply(fits, AIC, 0)))
  quality <- if (is_linear(row)) {
    t(vapply(fits, function(fit) unlist(summary(fit)[c("r.squared", "adj.r.squared")]), c(0, 0)))
  }
  c(by_kind, list(tell("first level", b), tell("facts", likelihood), tell("quality", quality)))
}

folder <- c(commandArgs(TRUE), "tests/reference")[1]
data <- named_data("natives")
parts <- lapply(read_rows("tests/reference/native_cases.csv"), function(row) {
  if (nzchar(row$group)) describe_groups(row, data) else describe_one(row, data)
})
write_long(file.path(folder, "native.csv"), header(packages = c("MASS", "sandwich")), unlist(parts, recursive = FALSE))
