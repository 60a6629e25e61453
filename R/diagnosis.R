# What else a fit says of itself: other optimizers, shares of variance, precision of the random effects.

# The optimizers that lme4's allFit() tries. `absent` names those whose package is not installed, and the packages.
known_optimizers <- function() {
  needs <- c(nmkbw = "dfoptim", `optimx.L-BFGS-B` = "optimx")
  needs <- needs[!vapply(needs, requireNamespace, NA, quietly = TRUE)]
  list(
    optimizers = setdiff(names(optimizer_arguments), names(needs)), absent = as.character(names(needs)),
    packages = as.character(unname(needs))
  )
}

# For each its function, what limits its steps, and other options.
optimizer_arguments <- list(
  bobyqa = list("bobyqa", "maxfun"), Nelder_Mead = list("Nelder_Mead", "maxfun"),
  nlminbwrap = list("nlminbwrap", "eval.max"), nmkbw = list("nmkbw", "maxfeval"),
  `optimx.L-BFGS-B` = list("optimx", "maxit", method = "L-BFGS-B"),
  nloptwrap.NLOPT_LN_NELDERMEAD = list("nloptwrap", "maxeval", algorithm = "NLOPT_LN_NELDERMEAD"),
  nloptwrap.NLOPT_LN_BOBYQA = list("nloptwrap", "maxeval", algorithm = "NLOPT_LN_BOBYQA")
)

# The fit again by one of them: its log-likelihood and coefficients, NA where it failed, and what was said.
fit_by_optimizer <- function(model, optimizer) {
  how <- optimizer_arguments[[optimizer]]
  refit_with(model, how[[1]], c(setNames(list(100000), how[[2]]), how[-(1:2)]))
}

# What the model says of its fit with another optimizer, all else as it was.
refit_with <- function(model, optimizer, options) {
  linear <- lme4::isLMM(model)
  control <- environment(stats::formula(model))$control
  if (is.null(control)) control <- if (linear) lme4::lmerControl() else lme4::glmerControl()
  control$optimizer <- if (linear) optimizer else c(optimizer, optimizer)
  control$optCtrl <- options
  fit <- tryCatch(
    suppressMessages(suppressWarnings(fit_again(model, control = control))),
    error = function(e) conditionMessage(e)
  )
  if (is.character(fit)) {
    nothing <- rep(NA_real_, length(lme4::fixef(model)))
    return(list(
      log_likelihood = scalar(NA_real_), converged = scalar(FALSE), messages = scalar(fit), coefficients = nothing
    ))
  }
  record <- convergence_record(fit)
  # The checks of lme4 give a code to all that they doubt but singularity.
  doubts <- c(fit@optinfo$conv$lme4$code, fit@optinfo$warnings)
  list(
    log_likelihood = scalar(as.vector(stats::logLik(fit))),
    converged = scalar(record$code == 0 && length(doubts) == 0),
    messages = scalar(paste(record$messages, collapse = "; ")), coefficients = unname(lme4::fixef(fit))
  )
}

# The variances that shares are made of, on the link scale: of x b over the rows; of z u for each random-effects
# term, the mean of z G z' over the rows (Johnson 2014, Methods Ecol. Evol. 5); sigma^2 and theta. For counts with a log
# link also those of the null model, which has the random effects and the intercept alone.
variance_parts <- function(model) {
  family <- if (lme4::isLMM(model)) "gaussian" else model@resp$family$family
  counts <- family == "poisson" || startsWith(family, "Negative Binomial")
  null <- if (counts && model@resp$family$link == "log") null_parts(null_model(model))
  list(
    fixed = scalar(stats::var(as.vector(lme4::getME(model, "X") %*% lme4::fixef(model)))),
    random = random_variances(model),
    by_row = rows_are_groups(model),
    sigma = scalar(stats::sigma(model)),
    theta = counts_theta(model),
    null = null
  )
}

null_parts <- function(null) {
  list(intercept = scalar(lme4::fixef(null)[[1]]), random = scalar(sum(random_variances(null))))
}

# The mean of z G z' over the rows, for each term.
random_variances <- function(model) {
  parts <- lme4::getME(model, c("Zt", "Lambdat", "Gp"))
  squares <- Matrix::rowSums((parts$Lambdat %*% parts$Zt)^2)
  term <- findInterval(seq_along(squares) - 1, parts$Gp)
  effect_variance(model) * as.vector(tapply(squares, term, sum)) / ncol(parts$Zt)
}

# Whether the groups of each term are single rows, so that its effect is overdispersion.
rows_are_groups <- function(model) {
  factors <- lme4::getME(model, "flist")
  vapply(attr(factors, "assign"), function(f) nlevels(factors[[f]]) == nrow(model@frame), NA)
}

null_model <- function(model) {
  formula <- stats::formula(model)
  offsets <- as.list(attr(stats::terms(model), "variables"))[-1][attr(stats::terms(model), "offset")]
  formula[[3]] <- sum_of(c(list(1), offsets, random_terms(formula)))
  fit_again(model, formula)
}

# Conditional standard deviations of the random effects, shaped as ranef() has these.
random_spread <- function(model) {
  parts <- lme4::getME(model, c("L", "Lambdat", "cnms", "flist", "Gp"))
  assigned <- attr(parts$flist, "assign")
  columns <- lapply(seq_along(parts$cnms), function(t) {
    groups <- levels(parts$flist[[assigned[t]]])
    size <- length(parts$cnms[[t]])
    place <- outer((seq_along(groups) - 1L) * size + parts$Gp[t], seq_len(size), `+`)
    Lambda <- t(term_block(parts$Lambdat, parts$Gp[t], size))
    variance <- vapply(seq_len(size), function(effect) {
      inverse_form(parts$L, place, matrix(Lambda[effect, ], nrow(place), size, byrow = TRUE))
    }, numeric(nrow(place)))
    matrix(sqrt(effect_variance(model) * variance), nrow(place), dimnames = list(groups, parts$cnms[[t]]))
  })
  factors <- setNames(seq_along(parts$flist), names(parts$flist))
  list(spread = lapply(factors, function(f) do.call(cbind, columns[assigned == f])))
}
