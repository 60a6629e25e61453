# The model of a case by lmerTest alone, with what R said; needs lmerTest attached.

fit_case <- function(case) {
  env <- new.env()
  env$data <- case_data(case)
  call <- quote(lmer(formula = NULL, data = data))
  call$formula <- stats::as.formula(case$formula, env)
  call$REML <- case$REML == "TRUE"
  if (nzchar(case$weights)) call$weights <- as.name(case$weights)
  if (nzchar(case$offset)) call$offset <- as.name(case$offset)
  if (nzchar(case$control)) call$control <- str2lang(paste0("lmerControl(", case$control, ")"))
  listen(eval(call, env))
}
