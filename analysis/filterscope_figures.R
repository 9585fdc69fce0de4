# Figures of filterscope's results with ggplot2 (Debian: r-cran-ggplot2); needs filterscope.R beside it.
#
#     Rscript analysis/filterscope_figures.R sweep.h5 [more.h5 ...] --out figures       # all, as PNG and PDF
#
#     source("analysis/filterscope.R"); source("analysis/filterscope_figures.R")
#     fs_plot_sr(fs_open("sweep.h5"))          # each fs_plot_... returns a ggplot; fs_save writes PNG and PDF
#
# Files are told apart by colour (Okabe and Ito's palette) and shape. All but fs_plot_field take one or several files.

suppressPackageStartupMessages(library(ggplot2))

.fs_colours <- c("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
.fs_look <- function() theme_bw(base_size = 12) + theme(panel.grid.minor = element_blank(), legend.position = "bottom")

# The table with a column `network`: the architecture, and the file where that does not tell; one level where there is one file.
.fs_network <- function(results, table) {
  if (!nrow(table)) stop("nothing is complete yet", call. = FALSE)
  runs <- results$runs
  archs <- vapply(runs, function(run) run$arch, "")
  stems <- sub("\\.[^.]*$", "", basename(vapply(runs, function(run) run$path, "")))
  names <- if (anyDuplicated(archs)) paste(archs, stems, sep = ", ") else archs
  paths <- vapply(runs, function(run) run$path, "")
  table$network <- factor(if (is.null(table$file)) names[1] else names[match(table$file, paths)], unique(names))
  table
}

.fs_by_layer <- function(table) {
  plot <- ggplot(table, aes(layer, value, colour = network, shape = network)) + geom_line() + geom_point(size = 2.5) +
    scale_colour_manual(values = .fs_colours) + scale_x_continuous("convolution layer", breaks = sort(unique(table$layer))) +
    labs(colour = NULL, shape = NULL) + .fs_look()
  if (nlevels(table$network) == 1) plot + guides(colour = "none", shape = "none") else plot
}

# SR of each layer's probe.
fs_plot_sr <- function(results) {
  table <- .fs_network(results, results$layers)
  table$value <- table$sr
  chance <- unique(vapply(results$runs, function(run) 1 / length(run$labels), 0))
  .fs_by_layer(table) + geom_hline(yintercept = chance, linetype = "dotted", colour = "grey40") +
    scale_y_continuous("SR (share of test images; dotted: chance)", limits = c(0, 1)) +
    ggtitle("Success rate of each layer's probe")
}

# N_c, C_s, noise and SNR by layer.
fs_plot_clusters <- function(results) {
  table <- .fs_network(results, results$layers)
  panels <- c(clusters = "N_c (clusters a filter)", cluster_size = "C_s (labels a cluster)", noise = "noise n (elements a filter)",
    snr = "SNR (ours)")
  table <- do.call(rbind, lapply(names(panels), function(column)
    data.frame(table[c("layer", "network")], value = table[[column]], panel = panels[[column]])))
  table$panel <- factor(table$panel, panels)
  .fs_by_layer(table) + facet_wrap(~panel, scales = "free_y", strip.position = "left") + expand_limits(y = 0) + ylab(NULL) +
    theme(strip.placement = "outside", strip.background = element_blank()) + ggtitle("Clusters, noise and signal to noise")
}

# The filter of `layer` whose clusters show best, by the same rule as in Python.
fs_best_filter <- function(results, layer) {
  table <- results$filters
  table <- table[table$layer == layer & table$dead == 0, ]
  if (!nrow(table)) stop("layer ", layer, " has no living filter that is done", call. = FALSE)
  table$filter[order(table$covered <= table$clusters, table$noise, -table$covered, table$filter)[1]]
}

# One filter's field: as it is, clipped, and clipped with the labels ordered by cluster.
fs_plot_field <- function(results, layer = max(results$filters$layer), filter = fs_best_filter(results, layer)) {
  field <- results$field(layer, filter)
  if (!(max(field) > 0)) stop("filter ", filter, " of layer ", layer, " is dead", call. = FALSE)
  cluster <- results$clusters(layer, filter)
  field <- field / max(field)
  clipped <- field > results$threshold
  member <- outer(cluster, cluster, "==") & outer(cluster > 0, cluster > 0)
  count <- length(cluster)
  ordered <- order(cluster == 0, cluster, seq_len(count))
  titles <- c("averaged field / its largest element", paste("clipped at", results$threshold), "labels ordered by cluster")
  kind <- ifelse(clipped, ifelse(member, 2, 1), 0)
  # each panel has its own order of labels, so each has its own stretch of positions on the axes
  shift <- 10 * count
  names <- c(results$labels, rep("", shift - count), results$labels, rep("", shift - count), results$labels[ordered])
  panel <- function(number, order, value) {
    place <- (number - 1) * shift + seq_len(count)
    data.frame(panel = titles[number], y = -rep(place, count), x = rep(place, each = count), value = as.vector(value[order, order]))
  }
  table <- rbind(panel(1, seq_len(count), field), panel(2, seq_len(count), kind), panel(3, ordered, kind))
  table$panel <- factor(table$panel, titles)
  shown <- table$panel == titles[1]
  limit <- max(abs(field))
  marks <- table[!shown & table$value > 0, ]
  marks$kind <- factor(ifelse(marks$value == 2, "cluster", "noise"), c("cluster", "noise"))
  breaks <- if (count <= 30) function(limits) seq(ceiling(min(limits)), floor(max(limits))) else NULL
  label <- if (count <= 30) function(place) names[abs(place)] else NULL
  ggplot(table, aes(x, y)) + geom_tile(fill = "white", width = 1, height = 1) +
    geom_tile(aes(fill = value), table[shown, ], width = 1, height = 1) +
    geom_point(aes(colour = kind), marks, shape = 15, size = 0.1) + # for the legend alone; the tiles hide them
    geom_tile(data = marks[marks$kind == "cluster", ], width = 1, height = 1, fill = "#0072B2") +
    geom_tile(data = marks[marks$kind == "noise", ], width = 1, height = 1, fill = "#D55E00") + facet_wrap(~panel, scales = "free") +
    scale_fill_gradient2("field (1 = largest element)", low = "#542788", mid = "white", high = "#B35806",
      limits = c(-limit, limit)) + scale_colour_manual(NULL, values = c(cluster = "#0072B2", noise = "#D55E00"), drop = FALSE) +
    guides(colour = guide_legend(override.aes = list(size = 4))) +
    scale_x_continuous("output unit", breaks = breaks, labels = label, expand = c(0, 0)) +
    scale_y_continuous("input label", breaks = breaks, labels = label, expand = c(0, 0)) +
    ggtitle(sprintf("%s, layer %d, filter %d: N_c = %d, noise = %d elements", results$arch, as.integer(layer),
      as.integer(filter), max(cluster), sum(clipped & !member))) + .fs_look() +
    theme(panel.grid = element_blank(), aspect.ratio = 1, legend.key.width = unit(1.5, "cm"),
      axis.text.x = element_text(angle = 90, vjust = 0.5, hjust = 1))
}

# Share of clusters of each size, a panel a layer.
fs_plot_sizes <- function(results) {
  table <- .fs_network(results, results$cluster_sizes)
  total <- ave(table$clusters, table$network, table$layer, FUN = sum)
  table <- table[table$clusters > 0, ] |> transform(value = clusters / total[table$clusters > 0])
  table$panel <- factor(paste("layer", table$layer), paste("layer", sort(unique(table$layer))))
  plot <- ggplot(table, aes(size, value, colour = network, shape = network)) + facet_wrap(~panel) + scale_y_log10() +
    labs(x = "cluster size C_s (labels)", y = "share of the layer's clusters", colour = NULL, shape = NULL,
      title = "Cluster sizes") + geom_line() + geom_point() + scale_colour_manual(values = .fs_colours) + .fs_look()
  if (nlevels(table$network) == 1) plot + guides(colour = "none", shape = "none") else plot
}

# Share of the test images on which a filter selects its unit.
fs_plot_share <- function(results) {
  table <- .fs_network(results, results$filters)
  table <- table[table$dead == 0, ]
  plot <- ggplot(table, aes(factor(layer), share, colour = network)) + geom_boxplot(outlier.size = 0.6) +
    scale_colour_manual(values = .fs_colours) + scale_y_continuous("share of the test images (ours)", limits = c(0, 1)) +
    labs(x = "convolution layer", colour = NULL, title = "How often a filter selects its unit") + .fs_look()
  if (nlevels(table$network) == 1) plot + guides(colour = "none") else plot
}

# Learning curves of the probes.
fs_plot_history <- function(results) {
  table <- .fs_network(results, results$history)
  curves <- c(train_loss = "training loss (nats an image)", train_sr = "SR on augmented training images (share)",
    test_sr = "SR on test images (share)")
  table <- do.call(rbind, lapply(names(curves), function(column)
    data.frame(table[c("layer", "epoch", "network")], value = table[[column]], panel = curves[[column]])))
  table$panel <- factor(table$panel, curves)
  table <- table[!is.nan(table$value), ]
  ggplot(table, aes(epoch, value, colour = layer, group = layer)) + geom_line() + geom_point(size = 1) +
    facet_grid(panel ~ network, scales = "free_y", labeller = label_wrap_gen(24)) +
    scale_colour_viridis_c("convolution layer", direction = -1, breaks = sort(unique(table$layer))) +
    scale_x_continuous(breaks = function(limits) unique(round(pretty(limits)))) +
    labs(x = "epoch", y = NULL, title = "The probes while they learned") + .fs_look() +
    theme(legend.key.width = unit(0.1, "npc"))
}

# Whether the file ends as its kind does: R's devices do not tell of a full disk.
.fs_whole <- function(path, kind) {
  end <- charToRaw(c(png = "IEND\xaeB`\x82", pdf = "%%EOF\n")[[kind]])
  size <- file.size(path)
  if (is.na(size) || size < length(end)) return(FALSE)
  file <- file(path, "rb")
  on.exit(close(file))
  seek(file, size - length(end))
  identical(readBin(file, "raw", length(end)), end)
}

# Writes folder/name.png and .pdf; inches. What is not written whole is an error, and what was there stays.
fs_save <- function(plot, folder, name, width = 8, height = 5) {
  dir.create(folder, showWarnings = FALSE, recursive = TRUE)
  if (!dir.exists(folder)) stop(folder, ": no folder, and none could be made", call. = FALSE)
  for (kind in c("png", "pdf")) {
    path <- file.path(folder, paste(name, kind, sep = "."))
    part <- paste0(path, ".part")
    suppressMessages(ggsave(part, plot, device = kind, width = width, height = height, dpi = 150))
    if (!.fs_whole(part, kind) || !file.rename(part, path)) {
      unlink(part)
      stop(path, ": could not be written whole: the disk may be full", call. = FALSE)
    }
  }
  invisible(file.path(folder, paste0(name, ".png")))
}

# A line on standard output, by cat: R does not tell where that cannot be written.
.fs_say <- function(text) {
  if (system2("cat", input = encodeString(text), stderr = FALSE) != 0) stop("standard output: cannot be written", call. = FALSE)
}

.fs_main <- function(words) {
  place <- match("--out", words)
  out <- if (is.na(place)) "." else words[place + 1]
  paths <- if (is.na(place)) words else words[-c(place, place + 1)]
  results <- fs_open(paths)
  save <- function(...) .fs_say(paste(fs_save(...), "(and .pdf)"))
  save(fs_plot_sr(results), out, "sr")
  save(fs_plot_clusters(results), out, "clusters", 9, 7)
  save(fs_plot_sizes(results), out, "sizes", 9, 6)
  save(fs_plot_share(results), out, "share")
  save(fs_plot_history(results), out, "history", 8, 9)
  if (length(paths) == 1) save(fs_plot_field(results), out, "field", 13, 5)
}

if (sys.nframe() == 0) { # run by Rscript, not sourced
  here <- sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))
  source(file.path(dirname(here), "filterscope.R"))
  tryCatch(.fs_main(commandArgs(TRUE)), error = function(e) {
    message("filterscope_figures.R: ", encodeString(conditionMessage(e)))
    quit(status = 1)
  })
}
