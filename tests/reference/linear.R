# Linear mixed models by lmerTest alone, written to linear.csv: `Rscript tests/reference/linear.R [folder]`
# from the root of the repository. The models are those of linear_cases.csv.

source("tests/reference/lib/frames.R")
source("tests/reference/lib/tables.R")
source("tests/reference/lib/versions.R")
source("tests/reference/lib/fits.R")
suppressMessages(library(lmerTest))

describe_case <- function(case, model, said) {
  tell <- function(table, value) long(case$id, table, value)
  random <- variances_of(model)
  info <- model@optinfo
  parts <- list(
    tell("coefs", summary(model)$coefficients),
    tell("vcov", cut_long(vcov(model), 6)),
    tell("facts", facts(model)),
    tell("theta", getME(model, "theta")),
    tell("variances", with(random, {
      cbind(group = grp, first = var1, second = var2, var = text(vcov), sd = text(sdcor))
    })),
    tell("groups", ngrps(model)),
    tell("fitted", cut_long(fitted(model), 50)),
    tell("residuals", cut_long(residuals(model), 50)),
    tell("wald", limits_by_name(model, method = "Wald")),
    tell("warnings", said$warning),
    tell("messages", said$message),
    tell("optimizer", as.character(info$optimizer)),
    tell("checks", as.character(info$conv$lme4$messages)),
    tell("optimizer_warnings", as.character(unlist(info$warnings))),
    tell("codes", c(optimizer = info$conv$opt, lme4 = info$conv$lme4$code)),
    tell("gradient", info$derivs$gradient)
  )
  deviations <- ranef(model, condVar = FALSE)
  coefficients <- coef(model)
  by_group <- lapply(names(deviations), function(group) {
    list(
      tell(paste("ranef", group), cut_long(deviations[[group]], 20)),
      tell(paste("coef", group), cut_long(coefficients[[group]], 8))
    )
  })
  c(parts, unlist(by_group, recursive = FALSE), predictions(case, model, tell), profile_limits(case, model, tell))
}

text <- function(x) sprintf("%.17g", x)

facts <- function(model) {
  c(
    logLik = as.vector(logLik(model)), AIC = AIC(model), BIC = BIC(model), sigma = sigma(model),
    criterion = if (isREML(model)) lme4::REMLcrit(model) else deviance(model, REML = FALSE),
    nobs = nobs(model), npar = attr(logLik(model), "df"), singular = isSingular(model)
  )
}

# With `offset` among the arguments R's predict() leaves the offset out; with offset() in the formula it does not.
predictions <- function(case, model, tell) {
  if (!nzchar(case$unseen)) return(NULL)
  if (nzchar(case$offset)) {
    case$formula <- sprintf("%s + offset(%s)", case$formula, case$offset)
    case$offset <- ""
    model <- fit_case(case)$value
  }
  new <- new_data(case)
  found <- cbind(
    population = predict(model, new, re.form = NA), group = predict(model, new),
    unseen = predict(model, unseen_data(case), allow.new.levels = TRUE)
  )
  list(tell("predictions", found))
}

profile_limits <- function(case, model, tell) {
  if (case$profile != "TRUE") return(NULL)
  limits <- suppressMessages(limits_by_name(model, method = "profile", quiet = TRUE))
  list(tell("profile", limits))
}

folder <- c(commandArgs(TRUE), "tests/reference")[1]
cases <- read_cases("tests/reference/linear_cases.csv")
parts <- lapply(split(cases, factor(cases$id, unique(cases$id))), function(case) {
  fit <- fit_case(case)
  describe_case(case, fit$value, fit$said)
})
write_long(file.path(folder, "linear.csv"), header(), unlist(parts, recursive = FALSE))
