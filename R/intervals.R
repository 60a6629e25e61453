# Limits of predictions. `interval` is what predict_mixed() takes; `rows` holds X and Z.

# Normal theory. The variance of a row is that of its mean, and for a prediction those of the random
# effects that are not the fit's and of the residual, sigma^2 / w.
linear_limits <- function(model, estimate, rows, conditional, interval) {
  predicted <- interval$kind == "prediction"
  residual <- if (!predicted) 0 else if (is.null(interval$weights)) 1 else 1 / interval$weights
  # What follows from theta alone, in units of sigma^2.
  spread <- if (conditional || predicted) function(parts) {
    (if (conditional) row_variance(parts, rows) else 0) + (if (predicted) unseen_variance(parts$Lambdat, rows) else 0)
  }
  of_mean <- function(V) if (conditional) 0 else row_form(rows$X, V)
  V <- fixed_covariance(model)
  rest <- (if (is.null(spread)) 0 else spread(precision_parts(model))) + residual
  rest <- stats::sigma(model)^2 * rest + numeric(length(estimate))
  adjusted <- if (interval$adjusted) pbkrtest::vcovAdj(model)
  df <- switch(interval$ddf,
    asymptotic = rep(Inf, length(estimate)),
    `Kenward-Roger` = kenward_roger_row_df(rows$X, V, adjusted),
    Satterthwaite = satterthwaite_row_df(model, rest + of_mean(V), if (!conditional) rows$X, spread)
  )
  se <- sqrt(rest + of_mean(if (is.null(adjusted)) V else as.matrix(adjusted)))
  half <- stats::qt((1 + interval$level) / 2, df) * se
  list(se = se, df = df, lower = estimate - half, upper = estimate + half)
}

# x V x' for each row.
row_form <- function(X, V) rowSums((X %*% V) * X)

# 2 v^2 / (g' A g) for the variance v of each row, g its gradient in (theta, sigma): of predictable functions
# after McLean & Sanders (1988), Proc. Stat. Comp. Section ASA, 50-59, as in SAS; of predictions after
# Francq, Lin & Hoyer (2019), Stat. Med. 38. v is made of x V x', unless X is NULL, and of sigma^2 times
# what `spread` makes of the factors of the fit, unless that is NULL.
satterthwaite_row_df <- function(model, variance, X, spread) {
  parts <- satterthwaite_of(with_satterthwaite(model))
  n_theta <- length(parts$jacobian) - 1L
  gradient <- matrix(0, length(variance), n_theta)
  if (!is.null(X)) for (j in seq_len(n_theta)) gradient[, j] <- row_form(X, parts$jacobian[[j]])
  if (!is.null(spread)) gradient <- gradient + stats::sigma(model)^2 * theta_gradient(model, spread)
  gradient <- cbind(gradient, 2 * variance / stats::sigma(model))
  ifelse(variance == 0, Inf, 2 * variance^2 / row_form(gradient, parts$A))
}

# The derivatives in theta of a function of the factors of the fit with a value for each row, by central
# differences. A step is small against the sd of its effect, and against the sd that the data can tell from 0.
theta_gradient <- function(model, values) {
  devfun <- own_deviance(model)
  pp <- environment(devfun)$pp
  par <- deviance_argument(devfun, model@theta)
  at <- function(theta) {
    devfun(theta)
    values(list(L = pp$L(), RZX = pp$RZX, RX = pp$RX(), Lambdat = pp$Lambdat))
  }
  step <- 1e-5 * pmax(.effect_sd(pp, length(par)), 1 / sqrt(effect_information(model, pp, length(par))))
  moved <- function(j, by) at(replace(par, j, par[j] + by))
  columns <- lapply(seq_along(par), function(j) (moved(j, step[j]) - moved(j, -step[j])) / (2 * step[j]))
  do.call(cbind, columns)
}

# The sum of w z^2 over the rows of a level, for the effect that each parameter belongs to; averaged over levels.
effect_information <- function(model, pp, k) {
  Zt <- lme4::getME(model, "Zt")
  Zt@x <- Zt@x^2 * rep(model@resp$weights, diff(Zt@p))
  sums <- Matrix::rowSums(Zt)
  if (max(pp$Lind) != k) return(rep(mean(sums), k))
  effect <- rep(seq_along(sums), diff(pp$Lambdat@p))
  as.vector(tapply(sums[effect], pp$Lind, mean))
}

# Kenward & Roger (1997), Biometrics 53, for one contrast: their df are then 2 v^2 / (u' W u), u the derivatives
# of v = x V x' in the variances, W the covariance of those.
kenward_roger_row_df <- function(X, V, adjusted) {
  u <- vapply(attr(adjusted, "P"), function(P) row_form(X, V %*% as.matrix(P) %*% V), numeric(nrow(X)))
  2 * row_form(X, V)^2 / row_form(matrix(u, nrow(X)), as.matrix(attr(adjusted, "W")))
}

# The variance of the linear predictor of a generalized model.
link_variance <- function(model, rows, conditional) {
  if (!conditional) return(row_form(rows$X, fixed_covariance(model)))
  effect_variance(model) * row_variance(precision_parts(model), rows)
}

# Limits by the normal quantile on the link scale, and for the response what the inverse link makes of them; SE there
# by the delta method.
link_limits <- function(model, predictor, se, type, level) {
  half <- stats::qnorm((1 + level) / 2) * se
  lower <- predictor - half
  upper <- predictor + half
  if (type == "link") return(list(se = se, lower = lower, upper = upper))
  family <- model@resp$family
  ends <- response_ends(family, lower, upper)
  list(se = abs(family$mu.eta(predictor)) * se, lower = ends$lower, upper = ends$upper)
}

# The least and the greatest response between two points of the link scale. At 0, sqrt has its least, and the
# links that take reciprocals go to infinity, gaussian means on both sides.
response_ends <- function(family, lower, upper) {
  across <- lower <= 0 & upper >= 0
  if (family$link %in% c("inverse", "1/mu^2") && family$family != "gaussian") lower <- pmax(lower, 0)
  ends <- cbind(family$linkinv(lower), family$linkinv(upper))
  least <- pmin(ends[, 1], ends[, 2])
  greatest <- pmax(ends[, 1], ends[, 2])
  if (family$link == "sqrt") least[across] <- 0
  if (family$link == "inverse" && family$family == "gaussian") {
    least[across] <- -Inf
    greatest[across] <- Inf
  }
  list(lower = least, upper = greatest)
}

# Quantiles of new outcomes: the linear predictor is drawn from its normal distribution, with the random effects that
# are not the fit's, and then an outcome. A mean that the family does not have gives none.
simulated_limits <- function(model, predictor, rows, conditional, interval) {
  weights <- outcome_weights(model, length(predictor), interval)
  if (is.list(weights)) return(weights)
  unseen <- unseen_variance(lme4::getME(model, "Lambdat"), rows)
  sd <- sqrt(link_variance(model, rows, conditional) + effect_variance(model) * unseen)
  found <- matrix(NA_real_, 3, length(predictor))
  lost <- numeric(length(predictor))
  set_stream(interval$seed)
  known <- which(is.finite(sd) & !is.na(weights) & weights > 0)
  for (block in split(known, (seq_along(known) - 1) %/% 1000)) {
    n <- length(block) * interval$draws
    drawn <- draw_outcomes(model, predictor[block] + sd[block] * stats::rnorm(n), rep_len(weights[block], n))
    drawn <- matrix(drawn, length(block))
    found[, block] <- apply(drawn, 1, draw_summary, level = interval$level, discrete = is_discrete(model))
    lost[block] <- rowMeans(is.na(drawn))
  }
  if (any(lost > 0)) {
    warning(sprintf(
      "The link gives means that the family does not have: up to %.2g%% of the draws of a row are left out.",
      100 * max(lost)
    ))
  }
  list(se = found[1, ], lower = found[2, ], upper = found[3, ])
}

draw_summary <- function(drawn, level, discrete) {
  drawn <- drawn[!is.na(drawn)]
  if (length(drawn) < 2) return(rep(NA_real_, 3))
  tails <- c(1 - level, 1 + level) / 2
  c(stats::sd(drawn), stats::quantile(drawn, tails, names = FALSE, type = if (discrete) 1 else 7))
}

is_discrete <- function(model) {
  family <- model@resp$family$family
  family %in% c("binomial", "poisson") || startsWith(family, "Negative Binomial")
}

# An outcome for each linear predictor, proportions for a binomial model. The dispersion is sigma^2 / w.
draw_outcomes <- function(model, predictor, weights) {
  family <- model@resp$family$family
  mean <- model@resp$family$linkinv(predictor)
  positive <- family != "gaussian"
  mean[positive & (is.na(mean) | mean < 0 | !is.finite(mean) | (family == "binomial" & mean > 1))] <- NA
  n <- length(mean)
  dispersion <- stats::sigma(model)^2 / weights
  known <- !is.na(mean)
  drawn <- rep(NA_real_, n)
  drawn[known] <- draw_family(model, family, mean[known], weights[known], dispersion[known])
  drawn
}

draw_family <- function(model, family, mean, weights, dispersion) {
  n <- length(mean)
  if (startsWith(family, "Negative Binomial")) {
    return(stats::rnbinom(n, mu = mean, size = lme4::getME(model, "glmer.nb.theta")))
  }
  switch(family,
    gaussian = stats::rnorm(n, mean, sqrt(dispersion)),
    binomial = stats::rbinom(n, weights, mean) / weights,
    poisson = stats::rpois(n, mean),
    Gamma = stats::rgamma(n, shape = 1 / dispersion, scale = mean * dispersion),
    inverse.gaussian = draw_inverse_gaussian(mean, dispersion)
  )
}

# Michael, Schucany & Haas (1976), The American Statistician 30, with the smaller root free of cancellation.
draw_inverse_gaussian <- function(mean, dispersion) {
  n <- length(mean)
  y <- 1 + mean * dispersion * stats::rnorm(n)^2 / 2
  root <- mean / (y + sqrt(y^2 - 1))
  ifelse(stats::runif(n) <= mean / (mean + root), root, mean^2 / root)
}

# The weights of new outcomes: for a binomial model the trials, which a cbind() outcome tells. A weighted count is one
# that stands for several, each of them a count. A list says why there are none.
outcome_weights <- function(model, n, interval) {
  weights <- if (is.null(interval$weights)) rep(1, n) else interval$weights
  if (!is_discrete(model)) return(weights)
  if (model@resp$family$family != "binomial") return(rep(1, n))
  if (all(model@resp$weights == 1)) return(list(refused = scalar("binary")))
  if (is.matrix(model@frame[[1]])) {
    trials <- row_trials(stats::formula(model), interval$outcome, n)
    if (is.character(trials)) return(list(refused = scalar("lacking"), columns = trials))
    weights <- weights * trials
  }
  if (any(weights < 0 | abs(weights - round(weights)) > 1e-8, na.rm = TRUE)) return(list(refused = scalar("trials")))
  round(weights)
}

# Successes and failures of each row added up. Columns that do not change the sum may be missing; those that do
# are named where they are not there.
row_trials <- function(formula, outcome, n) {
  names <- all.vars(formula[[2]])
  lacking <- setdiff(names, names(outcome))
  columns <- c(outcome, lapply(setNames(nm = lacking), function(name) numeric(n)))
  total <- function(columns) rowSums(eval(formula[[2]], columns, environment(formula)))
  filled <- lapply(columns, function(column) replace(as.numeric(column), is.na(column), 0))
  counts <- vapply(setNames(nm = names), function(name) {
    moved <- filled
    moved[[name]] <- moved[[name]] + 1
    any(total(moved) != total(filled))
  }, NA)
  if (any(counts[lacking])) return(lacking[counts[lacking]])
  columns[!counts[names(columns)]] <- filled[!counts[names(columns)]]
  total(columns)
}
