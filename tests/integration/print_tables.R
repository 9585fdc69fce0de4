# Rscript print_tables.R filterscope.R OUT LAYER FILTER FILE...: each table as OUT/TABLE.csv, with 17 digits, and its units;
# of one file also filter FILTER's field (row by row, doubles) and clusters.
words <- commandArgs(TRUE)
source(words[1])
out <- words[2]
results <- fs_open(words[-(1:4)])
text <- function(v) if (is.double(v)) ifelse(is.nan(v), "NaN", ifelse(is.infinite(v), ifelse(v > 0, "Inf", "-Inf"),
  sprintf("%.17g", v))) else as.character(v)
for (name in fs_tables) {
  table <- results[[name]]
  units <- attr(table, "units")
  writeLines(paste(names(units), units, sep = "="), file.path(out, paste0(name, ".units")))
  table[] <- lapply(table, text)
  write.table(table, file.path(out, paste0(name, ".csv")), sep = ",", row.names = FALSE, quote = FALSE)
}
if (length(words) == 5 && words[3] != "none") {
  writeBin(as.vector(t(results$field(as.integer(words[3]), as.integer(words[4])))), file.path(out, "field"))
  writeBin(as.vector(results$clusters(as.integer(words[3]), as.integer(words[4]))), file.path(out, "clusters"))
}
