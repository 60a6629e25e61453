# Generalized linear mixed models by lme4 alone, written to generalized.csv:
# `Rscript tests/reference/generalized.R [folder [ids]]` from the root of the repository. The models are those of
# generalized_cases.csv: all, or those of some ids.

source("tests/reference/lib/data.R")
source("tests/reference/lib/tables.R")
source("tests/reference/lib/versions.R")
source("tests/reference/lib/mixed.R")
suppressMessages(library(lme4))

describe_row <- function(row, model, said) {
  tell <- function(table, value) long(row$id, table, value)
  random <- variances_of(model)
  info <- model@optinfo
  parts <- list(
    tell("coefs", coefficients_of(model)),
    tell("vcov", covariance_of(model)),
    tell("facts", facts(model)),
    tell("theta", getME(model, "theta")),
    tell("variances", with(random, {
      cbind(group = grp, first = var1, second = var2, var = text(vcov), sd = text(sdcor))
    })),
    tell("groups", ngrps(model)),
    tell("fitted", cut_long(fitted(model), 8)),
    tell("residuals", cut_long(residuals(model), 8)),
    tell("wald", wald_limits(model)),
    tell("warnings", said$warning),
    tell("messages", said$message),
    tell("optimizer", as.character(info$optimizer)),
    tell("checks", as.character(info$conv$lme4$messages)),
    tell("codes", c(optimizer = info$conv$opt)),
    tell("gradient", info$derivs$gradient)
  )
  deviations <- ranef(model, condVar = FALSE)
  coefficients <- coef(model)
  by_group <- lapply(names(deviations), function(group) {
    list(
      tell(paste("ranef", group), cut_long(deviations[[group]], 6)),
      tell(paste("coef", group), cut_long(coefficients[[group]], 4))
    )
  })
  c(parts, unlist(by_group, recursive = FALSE), predictions(row, model, tell))
}

text <- function(x) sprintf("%.17g", x)

facts <- function(model) {
  c(
    logLik = as.vector(logLik(model)), AIC = AIC(model), BIC = BIC(model), sigma = sigma(model),
    nobs = nobs(model), npar = attr(logLik(model), "df"), singular = isSingular(model)
  )
}

# Eight complete rows of the data, of which four have a group that the fit has not seen in the last two columns.
predictions <- function(row, model, tell) {
  if (!nzchar(row$unseen)) return(NULL)
  data <- stats::na.omit(named_data(row$data))
  new <- data[1 + (0:7) * (nrow(data) %/% 8), ]
  unseen <- new
  labels <- as.character(new[[row$unseen]])
  labels[1:4] <- "unseen"
  unseen[[row$unseen]] <- factor(labels)
  found <- lapply(c("response", "link"), function(type) {
    values <- cbind(
      predict(model, new, re.form = NA, type = type), predict(model, new, type = type),
      predict(model, unseen, type = type, allow.new.levels = TRUE)
    )
    colnames(values) <- paste(c("population", "group", "unseen"), type)
    values
  })
  list(tell("predictions", do.call(cbind, found)))
}

folder <- c(commandArgs(TRUE), "tests/reference")[1]
rows <- read_rows("tests/reference/generalized_cases.csv")
if (length(commandArgs(TRUE)) > 1) rows <- rows[commandArgs(TRUE)[-1]]
parts <- lapply(rows, function(row) {
  fit <- fit_row(row)
  describe_row(row, fit$value, fit$said)
})
write_long(file.path(folder, "generalized.csv"), header("MASS"), unlist(parts, recursive = FALSE))
