# The other side of the benchmark: answers requests on standard input, one a line,
# with the seconds that plain R took.

suppressMessages({
  library(lme4)
  library(lmerTest)
})

read_simulated <- function(folder, n) {
  column <- function(name) readBin(file.path(folder, name), "double", n)
  columns <- lapply(setNames(nm = list.files(folder)), column)
  factors <- grep("^[xy]", names(columns), invert = TRUE)
  columns[factors] <- lapply(columns[factors], factor)
  as.data.frame(columns)
}

refit_permuted <- function(model, n) {
  y <- model.response(model.frame(model))
  g <- getME(model, "flist")[[1]]
  vapply(seq_len(n), function(i) {
    fit <- suppressWarnings(suppressMessages(refit(model, ave(y, g, FUN = sample))))
    coef(summary(fit))[2, "t value"]
  }, 0)
}

resample_lm <- function(formula, data, n, shuffled) {
  X <- model.matrix(formula, data)
  y <- data$y
  rows <- length(y)
  if (!shuffled) {
    draws <- vapply(seq_len(n), function(i) {
      drawn <- sample.int(rows, rows, TRUE)
      .lm.fit(X[drawn, ], y[drawn])$coefficients
    }, numeric(ncol(X)))
    return(apply(draws, 1, quantile, c(0.025, 0.975)))
  }
  spread <- diag(solve(crossprod(X))) / (rows - ncol(X))
  vapply(seq_len(n), function(i) {
    fit <- .lm.fit(X, sample(y))
    fit$coefficients / sqrt(sum(fit$residuals^2) * spread)
  }, numeric(ncol(X)))
}

compare_cells <- function(model) {
  means <- emmeans::emmeans(model, "a", by = "b", lmer.df = "satterthwaite")
  list(summary(means, infer = TRUE), summary(pairs(means), infer = TRUE))
}

bca_limits <- function(formula, data, n) {
  drawn <- boot::boot(data, function(d, rows) coef(lm(formula, d[rows, ])), n)
  lapply(seq_along(drawn$t0), function(i) boot::boot.ci(drawn, type = "bca", index = i))
}

compare_lm_cells <- function(formula, data) {
  means <- emmeans::emmeans(lm(formula, data), "a", by = "b")
  list(summary(means, infer = TRUE), summary(pairs(means), infer = TRUE))
}

refit_many <- function(model, n, path) {
  Y <- matrix(readBin(path, "double", n * nobs(model)), ncol = n)
  vapply(seq_len(n), function(i) fixef(suppressWarnings(suppressMessages(refit(model, Y[, i]))))[[1]], 0)
}

requests <- file("stdin", "r")
data <- NULL
repeat {
  line <- readLines(requests, 1)
  if (length(line) == 0) break
  words <- strsplit(line, "\t", fixed = TRUE)[[1]]
  if (words[1] == "data") {
    data <- if (words[2] == "simulated") read_simulated(words[3], as.integer(words[4])) else get(words[2])
    seconds <- 0
  } else {
    formula <- as.formula(words[2])
    invisible(gc())
    seconds <- if (words[1] == "criterion") -2 * as.numeric(logLik(lme4::lmer(formula, data))) else system.time(switch(words[1],
      lmerTest = summary(lmerTest::lmer(formula, data)),
      lme4 = lme4::lmer(formula, data),
      glmer = summary(lme4::glmer(formula, data, binomial)),
      permute = refit_permuted(fitted, as.integer(words[3])),
      fit = fitted <- lme4::lmer(formula, data),
      "fit with df" = fitted <- lmerTest::lmer(formula, data),
      post_hoc = compare_cells(fitted),
      lm = { model <- lm(formula, data); list(summary(model), confint(model)) },
      "fit binomial" = fitted <- lme4::glmer(formula, data, binomial),
      bootMer = lme4::bootMer(fitted, lme4::fixef, as.integer(words[3]), parallel = "multicore", ncpus = 2L),
      "bootMer alone" = suppressWarnings(suppressMessages(lme4::bootMer(fitted, lme4::fixef, as.integer(words[3])))),
      "refit many" = refit_many(fitted, as.integer(words[3]), words[4]),
      "boot ci" = bca_limits(formula, data, as.integer(words[3])),
      "lm cells" = compare_lm_cells(formula, data),
      "lm boot" = resample_lm(formula, data, as.integer(words[3]), FALSE),
      "lm permute" = resample_lm(formula, data, as.integer(words[3]), TRUE),
      "lm groups" = lapply(split(data, data$g), function(rows) coef(lm(formula, rows)))
    ))[["elapsed"]]
  }
  cat(format(seconds, digits = 15), "\n", sep = "")
  flush(stdout())
}
