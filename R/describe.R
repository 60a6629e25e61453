# All that Python keeps of a fit, as one plain named list.

describe <- function(model, ddf, level) {
  random <- variance_tables(model)
  list(
    fixed = fixed_table(model, ddf, level),
    vcov = unname(fixed_covariance(model)),
    aliased = names(attr(model@pp$X, "col.dropped")),
    groups = group_sizes(model),
    variances = random$variances,
    correlations = random$correlations,
    ranef = lapply(lme4::ranef(model, condVar = FALSE), as.matrix),
    fits = as.vector(model@resp$mu),
    residuals = as.vector(if (lme4::isLMM(model)) model@resp$y - model@resp$mu else stats::residuals(model)),
    omitted = as.vector(attr(model@frame, "na.action")),
    parts = part_counts(model),
    statistics = fit_statistics(model),
    convergence = convergence_record(model)
  )
}

# Variances and correlations of each random-effects term, under the names that VarCorr() gives the terms; where a group
# has several, it makes all names such as R's own are, and here they stay.
variance_tables <- function(model) {
  blocks <- setNames(lme4::VarCorr(model), make.unique(names(model@cnms)))
  sizes <- lengths(lapply(blocks, diag))
  sigma <- if (has_sigma(model)) stats::sigma(model)
  sd <- c(unlist(lapply(blocks, attr, "stddev"), use.names = FALSE), sigma)
  pairs <- lapply(sizes, function(size) which(lower.tri(diag(size)), arr.ind = TRUE))
  chosen <- function(column) unlist(Map(function(block, pair) rownames(block)[pair[, column]], blocks, pairs), use.names = FALSE)
  list(
    variances = plain_frame(list(
      group = c(rep(names(blocks), sizes), if (!is.null(sigma)) "Residual"),
      term = c(unlist(lapply(blocks, rownames), use.names = FALSE), if (!is.null(sigma)) NA), variance = sd^2, sd = sd
    )),
    correlations = plain_frame(list(
      group = rep(names(blocks), vapply(pairs, nrow, 1L)), first = as.character(chosen(2)), second = as.character(chosen(1)),
      correlation = as.numeric(unlist(Map(function(block, pair) attr(block, "correlation")[pair], blocks, pairs)))
    ))
  )
}

group_sizes <- function(model) {
  sizes <- lme4::ngrps(model)
  list(names = names(sizes), sizes = as.integer(sizes))
}

fit_statistics <- function(model) {
  likelihood <- stats::logLik(model)
  criterion <- if (lme4::isREML(model)) model@devcomp$cmp[["REML"]] else -2 * as.vector(likelihood)
  numbers <- lapply(list(
    AIC = stats::AIC(likelihood), BIC = stats::BIC(likelihood), log_likelihood = as.vector(likelihood),
    n_parameters = attr(likelihood, "df"), n_used = nrow(model@frame), criterion = as.vector(criterion),
    sigma = stats::sigma(model)
  ), scalar)
  c(numbers, list(theta = counts_theta(model), parameters = as.vector(lme4::getME(model, "theta"))))
}

# The size of a negative binomial model, NULL for others.
counts_theta <- function(model) {
  family <- if (lme4::isGLMM(model)) model@resp$family$family else ""
  if (startsWith(family, "Negative Binomial")) scalar(lme4::getME(model, "glmer.nb.theta"))
}

# The counts that are no whole numbers.
part_counts <- function(model) {
  if (lme4::isLMM(model)) return(numeric())
  family <- model@resp$family$family
  y <- if (family == "poisson" || startsWith(family, "Negative Binomial")) model@resp$y else numeric()
  y[abs(y - round(y)) > 1e-9 * pmax(1, abs(y))]
}

convergence_record <- function(model) {
  info <- model@optinfo
  gradient <- info$derivs$gradient
  list(
    optimizer = scalar(optimizer_name(info$optimizer)),
    code = scalar(as.integer(info$conv$opt)),
    messages = as.character(c(info$conv$lme4$messages, unlist(info$warnings))),
    max_gradient = scalar(if (is.null(gradient)) NA_real_ else max(abs(gradient))),
    singular = scalar(lme4::isSingular(model)),
    singular_terms = singular_terms(model)
  )
}

optimizer_name <- function(optimizer) {
  if (is.null(optimizer)) "none" else if (is.character(optimizer)) utils::tail(optimizer, 1) else "a function"
}

# The random-effects terms whose covariance matrix is not of full rank.
singular_terms <- function(model, tolerance = 1e-4) {
  blocks <- lme4::getME(model, "Tlist")
  flat <- vapply(blocks, function(block) min(svd(block, 0, 0)$d) < tolerance, logical(1))
  names(blocks)[flat]
}

# Coefficients, their tests and Wald's limits. p comes from the far tail of t, never as 1 - pt().
fixed_table <- function(model, ddf, level) {
  estimate <- lme4::fixef(model)
  moments <- coefficient_moments(model, ddf)
  statistic <- estimate / moments$se
  half <- stats::qnorm((1 - level) / 2, lower.tail = FALSE) * sqrt(diag(fixed_covariance(model)))
  columns <- list(
    estimate = estimate, lower = estimate - half, upper = estimate + half, se = moments$se, df = moments$df,
    statistic = statistic, p = 2 * stats::pt(abs(statistic), moments$df, lower.tail = FALSE)
  )
  plain_frame(lapply(columns, unname), as.character(names(estimate)))
}

# lme4 2.1 divides the weights of a generalized fit by the dispersion, and where it has no Hessian multiplies by
# the dispersion all the same.
fixed_covariance <- function(model) {
  parts <- satterthwaite_of(model)
  if (!is.null(parts)) return(parts$V)
  as.matrix(stats::vcov(model, sigm = if (weights_hold_dispersion(model)) 1 else stats::sigma(model)))
}

coefficient_moments <- function(model, ddf) {
  V <- fixed_covariance(model)
  if (ddf == "Kenward-Roger") return(kenward_roger(model, V))
  se <- sqrt(diag(V))
  list(se = se, df = if (ddf == "Satterthwaite" && lme4::isLMM(model)) satterthwaite_df(model, V) else rep(Inf, length(se)))
}

# Fai & Cornelius (1996), J. Stat. Comput. Simul. 54: 2 V^2 / (g' A g) for each coefficient,
# g the gradient of its variance V in (theta, sigma), A the covariance of those.
satterthwaite_df <- function(model, V) {
  if (ncol(V) == 0) return(numeric())
  parts <- satterthwaite_of(model)
  gradient <- matrix(vapply(parts$jacobian, diag, numeric(ncol(V))), nrow = ncol(V))
  2 * diag(V)^2 / rowSums((gradient %*% parts$A) * gradient)
}

# Kenward & Roger (1997), Biometrics 53, as pbkrtest computes it.
kenward_roger <- function(model, V) {
  adjusted <- pbkrtest::vcovAdj(model)
  unit <- diag(ncol(V))
  df <- vapply(seq_len(ncol(V)), function(j) pbkrtest::Lb_ddf(unit[j, ], V, adjusted), numeric(1))
  list(se = sqrt(diag(as.matrix(adjusted))), df = df)
}

design_matrix <- function(model) list(X = plain_matrix(lme4::getME(model, "X")))

plain_matrix <- function(X) matrix(X, nrow(X), dimnames = list(NULL, colnames(X)))
