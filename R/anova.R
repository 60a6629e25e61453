# Tests of model terms, of random-effects terms, and what a comparison of models needs.

# `type` is 1, 2 or 3; `ddf` counts for linear models only, generalized ones have Wald tests.
anova_mixed <- function(model, type, ddf) {
  labels <- attr(stats::terms(model), "term.labels")
  table <- if (lme4::isLMM(model)) f_tests(model, labels, type, ddf) else wald_tests(model, labels, type)
  if (type == 2 && lacks_margin(model, labels)) table[confounded(model, labels), ] <- NaN
  untested <- labels[is.na(table$p)]
  if (length(untested)) {
    warning("No test for ", toString(untested), ": can't be told from other terms, which add up to the same.", call. = FALSE)
  }
  list(table = table)
}

# lmerTest's F tests, a row for each term in the order of the formula. Where no df are
# asked for, F is that of Satterthwaite's method, which does not depend on them.
f_tests <- function(model, labels, type, ddf) {
  asymptotic <- ddf == "asymptotic"
  tested <- as_lmertest(model)
  method <- if (asymptotic) "Satterthwaite" else ddf
  found <- if (type == 3 && lacks_margin(model, labels)) {
    # lmerTest has no hypotheses there.
    do.call(rbind, lapply(type3_hypotheses(model, labels), f_test, model = tested, ddf = method))
  } else {
    whole <- stats::anova(tested, type = type, ddf = method)
    whole[match(labels, rownames(whole)), ]
  }
  table <- data.frame(
    ss = found[["Sum Sq"]], ms = found[["Mean Sq"]], df1 = found[["NumDF"]], df2 = found[["DenDF"]],
    f = found[["F value"]], p = found[["Pr(>F)"]], row.names = labels
  )
  if (asymptotic) {
    table$df2 <- ifelse(is.na(table$f), NA, Inf)
    table$p <- stats::pchisq(table$f * table$df1, table$df1, lower.tail = FALSE)
  }
  table
}

# The test of L b = 0, NA where L has no rows.
f_test <- function(L, model, ddf) {
  found <- if (nrow(L)) unlist(lmerTest::contestMD(model, L, ddf = ddf)) else rep(NA_real_, 6)
  names(found) <- c("Sum Sq", "Mean Sq", "NumDF", "DenDF", "F value", "Pr(>F)")
  data.frame(as.list(found), check.names = FALSE)
}

# Whether the design has columns of a term, but none of one that it contains: others add up to that.
lacks_margin <- function(model, labels) {
  kept <- attr(lme4::getME(model, "X"), "assign")
  terms <- seq_along(labels)
  any(unlist(containing_terms(model, terms)[!terms %in% kept]) %in% kept)
}

# Whether the terms that do not contain a term, with an indicator for every level, add up to some of it.
confounded <- function(model, labels) {
  kept <- attr(lme4::getME(model, "X"), "assign")
  indicators <- suppressMessages(indicator_design(model, unique(kept)))
  terms <- seq_along(labels)
  containing <- containing_terms(model, terms, same_covariates = lme4::isLMM(model))
  rank <- function(some) qr(indicators$D[, indicators$assign %in% some, drop = FALSE])$rank
  vapply(terms, function(t) {
    others <- setdiff(c(0, terms), c(t, containing[[t]]))
    sum(kept == t) == 0 || rank(c(others, t)) - rank(others) < sum(kept == t)
  }, NA)
}

# A term without a column of its own in the design has no test.
wald_tests <- function(model, labels, type) {
  terms <- seq_along(labels)
  if (type == 3) {
    hypotheses <- type3_hypotheses(model, labels)
    chisq <- vapply(terms, function(t) wald_statistic(model, hypotheses[[t]]), 0)
    df <- vapply(hypotheses, nrow, 0L)
  } else {
    assigned <- attr(lme4::getME(model, "X"), "assign")
    unit <- diag(length(assigned))
    statistic <- function(tested) wald_statistic(model, unit[assigned %in% tested, , drop = FALSE])
    left_out <- if (type == 1) lapply(terms, function(t) terms[terms > t]) else containing_terms(model, terms)
    chisq <- vapply(terms, function(t) statistic(c(t, left_out[[t]])) - statistic(left_out[[t]]), 0)
    df <- vapply(terms, function(t) sum(assigned == t), 0L)
  }
  chisq[df == 0] <- NaN
  p <- stats::pchisq(chisq, df, lower.tail = FALSE)
  data.frame(chisq = chisq, df = df, p = p, row.names = labels)
}

# W = (L b)' (L V L')^-1 (L b). The terms t are tested in a model without the terms s by
# W(t and s) - W(s): s is the later terms in type 1, those that contain t in type 2. That is
# the Wald test of Fox & Weisberg (2019), An R Companion to Applied Regression, ch. 6.
wald_statistic <- function(model, L) {
  if (nrow(L) == 0) return(0)
  estimate <- as.vector(L %*% lme4::fixef(model))
  sum(estimate * solve(L %*% fixed_covariance(model) %*% t(L), estimate))
}

# The hypotheses of type 3, a matrix L for each term, after Goodnight (1976), The General Linear
# Models Procedure, Proc. SAS Users Group: estimable functions of the over-parametrized model, with
# an indicator for every level, that involve a term and those that contain it alone, and are
# orthogonal to those that involve the containing ones alone. No coding of factors enters.
type3_hypotheses <- function(model, labels) {
  X <- lme4::getME(model, "X")
  indicators <- indicator_design(model, unique(attr(X, "assign")))
  parts <- qr(indicators$D)
  rows <- seq_len(parts$rank)
  # Estimable functions are combinations of the rows of R, here in the order of D's columns.
  R <- qr.R(parts)[rows, order(parts$pivot), drop = FALSE]
  onto_coefficients <- qr.qty(parts, matrix(X, nrow(X)))[rows, , drop = FALSE]
  containing <- containing_terms(model, seq_along(labels), same_covariates = TRUE)
  involving <- function(terms) null_space(R[, !indicators$assign %in% terms, drop = FALSE])
  lapply(seq_along(labels), function(t) {
    functions <- involving(c(t, containing[[t]]))
    others <- involving(containing[[t]])
    free <- null_space(crossprod(functions, tcrossprod(R)) %*% others)
    t(functions %*% free) %*% onto_coefficients
  })
}

# The design with an indicator for every level of every factor; terms that lme4 dropped stay out.
indicator_design <- function(model, kept) {
  frame <- model@frame
  used <- setdiff(fixed_variables(model), names(frame)[1])
  factors <- used[vapply(frame[used], is_categorical, NA)]
  frame[factors] <- lapply(frame[factors], as.factor)
  codings <- lapply(frame[factors], stats::contrasts, contrasts = FALSE)
  D <- stats::model.matrix(
    stats::delete.response(stats::terms(model)), frame, contrasts.arg = if (length(factors)) codings
  )
  columns <- attr(D, "assign") %in% kept
  empty <- colnames(D)[columns & colSums(D != 0) == 0]
  if (length(empty)) {
    message("Missing cells for: ", paste(empty, collapse = ", "), ". Interpret type III hypotheses with care.")
  }
  list(D = matrix(D[, columns], nrow(D)), assign = attr(D, "assign")[columns])
}

is_categorical <- function(column) is.factor(column) || is.character(column) || is.logical(column)

# The variables of the fixed part under their names in the model's frame, in the order of `terms`.
fixed_variables <- function(model) {
  variables <- as.list(attr(stats::terms(model), "variables"))[-1]
  vapply(variables, one_line, "")
}

# For each term those that have all its variables and more; with `same_covariates` only factors more.
containing_terms <- function(model, terms, same_covariates = FALSE) {
  if (length(terms) == 0) return(list())
  has <- attr(stats::terms(model), "factors") > 0
  covariate <- !vapply(model@frame[fixed_variables(model)], is_categorical, NA)
  contains <- function(larger, smaller) {
    more <- has[, larger] & !has[, smaller]
    all(has[has[, smaller], larger]) && any(more) && !(same_covariates && any(more & covariate))
  }
  lapply(terms, function(t) Filter(function(other) contains(other, t), terms))
}

# An orthonormal basis of all v with t(M) v = 0.
null_space <- function(M) {
  if (ncol(M) == 0) return(diag(nrow(M)))
  parts <- qr(M)
  qr.Q(parts, complete = TRUE)[, seq_len(nrow(M)) > parts$rank, drop = FALSE]
}

# Likelihood-ratio tests of the random-effects terms: the models of lmerTest's ranova() under its names, but fitted to
# the rows used, which that does not keep.
ranova_mixed <- function(model) {
  smaller <- smaller_random_parts(model)
  likelihoods <- c(list(stats::logLik(model)), lapply(unname(smaller), random_part_likelihood, model = model))
  log_likelihood <- vapply(likelihoods, as.vector, 0)
  npar <- vapply(likelihoods, function(likelihood) as.numeric(attr(likelihood, "df")), 0)
  chisq <- c(NA, 2 * (log_likelihood[1] - log_likelihood[-1]))
  df <- c(NA, npar[1] - npar[-1])
  p <- stats::pchisq(chisq, ifelse(df > 0, df, NA), lower.tail = FALSE)
  list(table = data.frame(
    npar = npar, log_likelihood = log_likelihood, AIC = 2 * npar - 2 * log_likelihood, chisq = chisq, df = df, p = p,
    row.names = c("<none>", names(smaller))
  ))
}

# The random part less one effect, a list of its terms, under the effect's name: as far as marginality allows, effects
# of a term that has several are left out one by one, others with their term, and all of a term with a structure.
smaller_random_parts <- function(model) {
  if (any(lengths(structures_of(model)))) {
    terms <- random_terms(stats::formula(model))
    return(setNames(lapply(seq_along(terms), function(i) terms[-i]), vapply(terms, as_text, "")))
  }
  terms <- lapply(random_bars(model), function(bar) call("(", bar))
  parts <- lapply(seq_along(terms), function(i) {
    bar <- terms[[i]][[2]]
    effects <- stats::as.formula(call("~", bar[[2]]))
    labels <- attr(stats::terms(effects), "term.labels")
    if (length(labels) == 0) return(setNames(list(terms[-i]), as_text(terms[[i]])))
    scope <- stats::drop.scope(effects)
    without <- lapply(scope, function(label) {
      left <- if (setequal(labels, label)) 1 else stats::update(effects, paste("~ . -", label))[[2]]
      c(terms[-i], call("(", call("|", left, bar[[3]])))
    })
    setNames(without, paste(scope, "in", as_text(terms[[i]])))
  })
  do.call(c, parts)
}

as_text <- function(expression) paste(deparse(expression, 500L, backtick = TRUE), collapse = " ")

random_part_likelihood <- function(terms, model) {
  if (length(terms) == 0) return(fixed_likelihood(model))
  formula <- stats::formula(model)
  formula[[3]] <- sum_of(c(list(stats::formula(model, fixed.only = TRUE)[[3]]), terms))
  stats::logLik(fit_again(model, formula))
}

# That of the fixed part alone, as for lm().
fixed_likelihood <- function(model) {
  X <- lme4::getME(model, "X")
  fit <- stats::lm.wfit(X, model@resp$y, model@resp$weights, model@resp$offset)
  stats::logLik(structure(fit, class = "lm"), REML = lme4::isREML(model) && ncol(X) > 0)
}

# What a likelihood-ratio test needs of a model, by ML where `refit`; the model itself stays as it is.
likelihood_mixed <- function(model, refit) {
  if (refit && lme4::isREML(model)) model <- lme4::refitML(model)
  likelihood <- stats::logLik(model)
  dims <- model@devcomp$dims
  # Before 2.1, lme4's likelihood left out constants where there are several points, and took an estimated scale for 1
  # where it integrates over the random effects.
  partial <- lme4::isGLMM(model) && utils::packageVersion("lme4") < "2.1"
  list(
    n_parameters = scalar(as.integer(attr(likelihood, "df"))), log_likelihood = scalar(as.vector(likelihood)),
    AIC = scalar(stats::AIC(likelihood)), BIC = scalar(stats::BIC(likelihood)),
    restricted = scalar(lme4::isREML(model)),
    quadrature = scalar(partial && dims[["nAGQ"]] > 1), unscaled = scalar(partial && dims[["useSc"]] > 0),
    fixed = as.character(names(lme4::fixef(model))),
    outcome = as.vector(model@resp$y), weights = as.vector(model@resp$weights),
    offset = as.vector(model@resp$offset)
  )
}
