# Cross-validation: refits to the rows of all folds but one, and what they predict for its rows.

# Of the rows used: outcomes, weights times trials, and the level of each grouping; the variables of the fixed part that
# are factors; and the term that each coefficient belongs to, "" for the intercept.
held_out_rows <- function(model) {
  response <- stats::model.response(model@frame)
  prior <- stats::model.weights(model@frame)
  trials <- if (is.matrix(response)) rowSums(response) else rep(1, nrow(model@frame))
  assigned <- attr(lme4::getME(model, "X"), "assign")
  list(
    outcome = as.vector(model@resp$y), weights = as.vector(trials * (if (is.null(prior)) 1 else prior)),
    groupings = lapply(lme4::getME(model, "flist"), as.integer), factors = as.character(names(fixed_levels(model))),
    terms = c("", attr(stats::terms(model), "term.labels"))[assigned + 1]
  )
}

# Predictions of the rows of some folds, one fold after the other, by the model less a term ("" for none) fitted to the
# rows of the others; and its theta, NA for other families. `fold` is that of each row used.
predict_held_out <- function(model, fold, term, held) {
  formula <- if (nzchar(term)) without_term(model, term) else stats::formula(model)
  parts <- lapply(held, function(j) {
    tryCatch(predict_fold(model, formula, fold == j), error = function(e) {
      stop("fold ", j, if (nzchar(term)) paste(", without", term), ": ", conditionMessage(e), call. = FALSE)
    })
  })
  list(prediction = unlist(lapply(parts, `[[`, "prediction")), theta = vapply(parts, `[[`, 0, "theta"))
}

# Groups seen in training have their random effects, others those of the population.
predict_fold <- function(model, formula, test) {
  data <- fitted_data(model)
  fit <- fit_to(model, formula, data[!test, , drop = FALSE])
  new <- data[test, , drop = FALSE]
  new[] <- lapply(new, function(column) structure(column, contrasts = NULL)) # which those of the fit stand for
  offset <- if (is.null(model@call$offset)) 0 else new[[as.character(model@call$offset)]]
  made <- predict_mixed(for_new_rows(fit)$model, new, nrow(new), TRUE, "response", "population", offset)
  theta <- counts_theta(fit)
  list(prediction = made$prediction, theta = if (is.null(theta)) NA_real_ else as.vector(theta))
}

# The model again by a formula, with all else as it was, on other rows.
fit_to <- function(model, formula, data) {
  home <- environment(stats::formula(model))
  place <- list2env(as.list(home, all.names = TRUE), parent = parent.env(home))
  place$data <- data
  environment(formula) <- place
  call <- model@call
  call$formula <- formula
  call$verbose <- NULL
  if (!is.null(counts_theta(model))) { # whose call has the theta that was found
    call[[1]] <- quote(lme4::glmer.nb)
    call$family <- NULL
  }
  if (lme4::isLMM(model)) fit_linear(call, place, 0L, FALSE) else finite(eval(call, place))
}

formula_without <- function(model, term) list(formula = scalar(one_line(without_term(model, term))))

# The formula less a term: a main effect takes its interactions along, an interaction none but itself; the mean where
# nothing is left of the fixed part.
without_term <- function(model, label) {
  terms <- stats::terms(model)
  labels <- attr(terms, "term.labels")
  t <- match(label, labels)
  alone <- sum(attr(terms, "factors")[, t] > 0) == 1
  gone <- c(t, if (alone) containing_terms(model, seq_along(labels))[[t]])
  written <- paste(c(". ~ .", labels[gone], if (length(gone) == length(labels)) -1), collapse = " - ")
  fixed <- stats::update(stats::formula(model, fixed.only = TRUE), written)
  formula <- stats::formula(model)
  formula[[3]] <- sum_of(c(list(fixed[[3]]), random_terms(formula)))
  formula
}
