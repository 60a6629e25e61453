# The one door into R. A verb is a function of these files: it takes plain values
# and returns a plain named list.

# The options of R that every verb runs under, whatever a user or a start-up file has set: those that the packages
# behind the verbs and R itself read, but for what only printing, plotting and installing ask. NULL is unset.
# docs/guide/lmer.md lists them.
named_options <- list(
  contrasts = c(unordered = "contr.treatment", ordered = "contr.poly"), na.action = "na.omit", matprod = "default",
  digits = 7L, digits.secs = NULL, scipen = 0L, OutDec = ".", width = 80L, max.print = 99999L,
  encoding = "native.enc", keep.source = FALSE, useFancyQuotes = TRUE, expressions = 5000L, check.bounds = FALSE,
  warn = 0L, warning.expression = NULL, warning.length = 1000L, warnPartialMatchArgs = FALSE,
  warnPartialMatchAttr = FALSE, warnPartialMatchDollar = FALSE, error = NULL, show.error.messages = TRUE,
  showErrorCalls = TRUE, verbose = FALSE, Matrix.verbose = NULL, Matrix.warn = NULL, Matrix.warnDeprecatedCoerce = 0L,
  lmerControl = NULL, glmerControl = NULL, lme4.singular.tolerance = NULL, lme4.doublevert.default = NULL,
  emmeans = list(enable.submodel = FALSE)
)

# Answer one question. Errors, warnings, messages and interrupts come back with the value; nothing is printed, and R's
# options and random stream are left as they were. An interrupt that a long call inside C has not seen waits until the
# stream is back, and is Python's then.
run_verb <- function(verb, arguments) suspendInterrupts(answered(verb, arguments))

answered <- function(verb, arguments) {
  warnings <- character()
  messages <- character()
  stream <- globalenv()[[".Random.seed"]]
  users <- options(named_options)
  on.exit({
    options(users)
    restore_stream(stream)
  })
  reply <- tryCatch(
    withCallingHandlers(
      list(value = allowInterrupts(
        do.call(get(verb, environment(run_verb), inherits = FALSE), arguments, quote = TRUE)
      )),
      warning = function(w) {
        if (!is_of_part_count(w)) warnings <<- c(warnings, conditionMessage(w))
        invokeRestart("muffleWarning")
      },
      message = function(m) {
        messages <<- c(messages, sub("\n$", "", conditionMessage(m)))
        invokeRestart("muffleMessage")
      }
    ),
    refusal = function(e) list(refused = scalar(conditionMessage(e)), of = scalar(class(e)[1])),
    error = function(e) list(error = scalar(conditionMessage(e)), too_deep = scalar(inherits(e, "stackOverflowError"))),
    interrupt = function(i) list(interrupted = TRUE)
  )
  c(reply, list(warnings = warnings, messages = messages))
}

# R warns of a count that is no whole number each time that it meets one, which Python has said once for all rows.
is_of_part_count <- function(w) startsWith(conditionMessage(w), sub("%f.*", "", gettext("non-integer x = %f", domain = "R")))

restore_stream <- function(stream) {
  if (is.null(stream)) {
    suppressWarnings(rm(".Random.seed", envir = globalenv()))
  } else {
    assign(".Random.seed", stream, envir = globalenv())
  }
}

# Stop at a formula that has no answer to the question, or at an option that R does not take, in words of our own.
refuse_formula <- function(...) refuse("formula", paste0(...))
refuse_option <- function(...) refuse("option", paste0(...))
refuse <- function(of, message) {
  stop(structure(class = c(of, "refusal", "error", "condition"), list(message = message, call = NULL)))
}

set_stream <- function(seed) {
  set.seed(seed, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")
}

# Mark a value that is one number, text or truth value, not a vector of length one.
scalar <- function(x) structure(x, class = "scalar")

# `later` names packages that are loaded where they are first used, but have to be there.
load_packages <- function(packages, later = character()) {
  for (package in packages) loadNamespace(package)
  find.package(later)
  list(versions = lapply(setNames(nm = packages), function(p) scalar(as.character(utils::packageVersion(p)))))
}

# The library that R takes products of matrices from, empty where the system does not tell.
libraries <- function() list(BLAS = scalar(extSoftVersion()[["BLAS"]]))

echo <- function(value) value

# A data frame from columns of one length, without the checks of data.frame().
plain_frame <- function(columns, rows = .set_row_names(length(columns[[1]]))) {
  structure(columns, class = "data.frame", row.names = rows)
}

dataset <- function(name) {
  for (package in c("lme4", "lmerTest", "emmeans", "datasets", "nlme", "MASS")) {
    if (!nzchar(system.file(package = package))) next
    place <- new.env()
    found <- suppressWarnings(tryCatch(utils::data(list = name, package = package, envir = place), error = function(e) ""))
    if (length(found) && exists(name, place, inherits = FALSE)) return(list(data = as_plain_frame(place[[name]])))
  }
  list(data = NULL)
}

# Plain columns only: classes such as groupedData and contrasts attributes are dropped, and a matrix is a column each.
as_plain_frame <- function(data) {
  if (!is.data.frame(data)) data <- as.data.frame(data)
  rows <- attr(data, "row.names")
  if (any(vapply(data, is.matrix, NA))) data <- do.call(data.frame, c(data, list(check.names = FALSE)))
  columns <- lapply(data, function(column) {
    attributes(column) <- attributes(column)[intersect(names(attributes(column)), c("levels", "class"))]
    column
  })
  plain_frame(columns, rows)
}
