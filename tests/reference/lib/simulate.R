# Outcomes above zero and counts in a crossed design, drawn once and written to simulated.csv:
# `Rscript tests/reference/lib/simulate.R` from the root of the repository. Real numbers are multiples of 1/64, so
# that their text is exact in any language.

set.seed(20, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")
n <- 240
g <- sample(rep(1:20, each = 12))
item <- sample(rep(1:8, 30))
x <- stats::runif(n)
cond <- sample(rep(c("b", "a", "C"), n / 3))
eta <- 1 + 0.6 * x + 0.3 * (cond == "a") + stats::rnorm(20, 0, 0.15)[g] + stats::rnorm(8, 0, 0.1)[item]

exact <- function(x) round(x * 64) / 64

# Michael, Schucany & Haas (1976), The American Statistician 30.
inverse_gaussian <- function(mean, shape) {
  y <- stats::rnorm(n)^2
  low <- mean + mean^2 * y / (2 * shape) - mean / (2 * shape) * sqrt(4 * mean * shape * y + mean^2 * y^2)
  ifelse(stats::runif(n) <= mean / (mean + low), low, mean^2 / low)
}

data <- data.frame(
  g, item, x = exact(x), cond,
  wait = exact(stats::rgamma(n, 10, scale = 0.8 / eta)),
  time = exact(inverse_gaussian(8 / sqrt(eta), 60)),
  level = exact(8 / eta + stats::rnorm(n, 0, 0.8)),
  visits = stats::rpois(n, 12 * eta),
  bursts = stats::rnbinom(n, size = 3, mu = 6 * eta * exp(stats::rnorm(20, 0, 0.4)[g]))
)
columns <- lapply(data, function(x) if (is.character(x)) x else sprintf("%.15g", x))
lines <- c(paste(names(data), collapse = ","), do.call(paste, c(columns, sep = ",")))
writeLines(lines, "tests/reference/simulated.csv")
