# The model of a row of a case file by lme4 and lmerTest alone; needs data.R and tables.R.

read_rows <- function(path) {
  rows <- utils::read.csv(path, colClasses = "character", na.strings = character())
  split(rows, factor(rows$id, unique(rows$id)))
}

# The value is the model, with what R said; the formula's environment holds the data.
fit_row <- function(row) {
  env <- new.env()
  env$data <- named_data(row$data)
  listen(eval(row_call(row, env), env))
}

row_call <- function(row, env) {
  call <- if (is_linear(row)) {
    quote(lmerTest::lmer(formula = NULL, data = data))
  } else if (row$family == "nbinom") {
    quote(lme4::glmer.nb(formula = NULL, data = data))
  } else {
    quote(lme4::glmer(formula = NULL, data = data))
  }
  call$formula <- stats::as.formula(row$formula, env)
  if (is_linear(row)) {
    if (identical(row$REML, "FALSE")) call$REML <- FALSE
  } else {
    if (row$family != "nbinom") call$family <- family_call(row)
    # lme4 2 starts a gamma model at one mean for all rows, 1.1 at the outcome, as glm() does.
    if (row$family == "gamma" && row$link != "log") call$mustart <- call$formula[[2]]
    if (given(row$nAGQ) && row$nAGQ != "1") call$nAGQ <- as.integer(row$nAGQ)
  }
  if (given(row$weights)) call$weights <- as.name(row$weights)
  if (given(row$offset)) call$offset <- as.name(row$offset)
  if (given(row$control)) {
    maker <- if (is_linear(row)) "lme4::lmerControl(" else "lme4::glmerControl("
    call$control <- str2lang(paste0(maker, row$control, ")"))
  }
  call
}

given <- function(text) length(text) > 0 && nzchar(text)

is_linear <- function(row) !given(row$family) || (row$family == "gaussian" && !given(row$link))

family_call <- function(row) {
  call <- list(switch(row$family,
    gamma = quote(stats::Gamma), inverse_gaussian = quote(stats::inverse.gaussian), as.name(row$family)
  ))
  if (given(row$link)) call$link <- row$link
  as.call(call)
}
