// The picture of one or several runs: one HTML file that needs nothing else.
import Checkpointing
import Foundation

/// A page about runs.
package struct RunPage {
  private let runs: [RunHistory]
  private let compressors: [CompressedBytes]
  /// What stands before all else: HTML.
  var lead = ""

  /// Its name in a run folder.
  package static let name = "report.html"

  /// A page about the runs in `folders`, at least one.
  ///
  /// - `compressing`: draw what compressors need for the same bytes, too; reads the corpora, and takes their time.
  /// - Throws: `UserError` and its kin where a folder holds no run.
  package init(folders: [String], compressing: Bool = false) throws {
    var runs = try folders.map { try RunHistory(folder: $0) }
    let names = Dictionary(grouping: runs, by: \.name).mapValues(\.count)
    for index in runs.indices where names[runs[index].name] ?? 0 > 1 {
      runs[index].name = runs[index].folder
    }
    self.runs = runs
    compressors = compressing ? try runs.flatMap { try CompressedBytes.all(of: $0) } : []
  }

  /// Writes the page to `path`; it is there whole, or not at all.
  package func write(to path: String) throws(UserError) {
    // Not flushed, as Foundation would: it can be made again from what is.
    let fresh = path + ".partial"
    let file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
    guard file >= 0, (try? handle.write(contentsOf: Data(html.utf8))) != nil,
      rename(fresh, path) == 0
    else {
      unlink(fresh)
      throw UserError("\(path): the report cannot be written; name another place with --output")
    }
  }

  /// Writes the runs' figures for TensorBoard, each in a folder of its own in `folder`.
  ///
  /// Throws `UserError` where that cannot be.
  package func writeEvents(to folder: String) throws(UserError) {
    for run in runs {
      let place = folder + "/" + run.name.drop { $0 == "/" }
      do {
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        // TensorBoard knows its files by the first of these words, and takes the number for a time.
        try Data(EventFile(run.metrics).bytes).write(
          to: URL(fileURLWithPath: place + "/events.out.tfevents.0.reformer-train"))
      } catch {
        throw UserError("\(place): cannot be written; name another place with --tensorboard")
      }
    }
  }

  // MARK: Charts

  /// Curves of the key `metric` of all runs: each value faint, and a running mean.
  private func smoothed(_ metric: String, _ label: String) -> [Chart.Series] {
    plain(metric, label, .raw) + means(metric, "\(label), running mean", .main)
  }

  private func means(_ metric: String, _ label: String, _ style: Chart.Style) -> [Chart.Series] {
    plain(metric, label, style).map { series in
      Chart.Series(
        run: series.run, metric: metric + "_mean", label: label, style: style,
        points: series.points.smoothed(over: max(1, series.points.last?.x ?? 1) / 50))
    }
  }

  private func plain(_ metric: String, _ label: String, _ style: Chart.Style) -> [Chart.Series] {
    runs.indices.map { run in
      Chart.Series(
        run: run, metric: metric, label: label, style: style,
        points: runs[run].metrics.curve(metric))
    }
  }

  private var charts: [Chart] {
    var bits = Chart(title: "Bits per byte", unit: "bits per byte")
    bits.series =
      smoothed("bits_per_byte", "training")
      + plain("prequential_bits_per_byte", "prequential", .dashed)
      + plain("validation_bits_per_byte", "validation", .points)
      + plain("averaged_validation_bits_per_byte", "validation, averaged weights", .rings)
    bits.levels = compressors.flatMap { part in
      part.results.map {
        Chart.Level(
          label: $0.command + (runs.count > 1 ? " (\(part.run))" : ""), y: $0.bitsPerByte)
      }
    }
    var time = Chart(title: "Time of a step", unit: "seconds")
    time.series =
      smoothed("step_seconds", "step")
      + means("mean_rank_seconds", "computing, mean of ranks", .dashed)
      + means("communication_exposed_seconds", "waiting for other ranks", .dotted)
    let positions = Chart(
      title: "Bits by position", unit: "bits per byte, last validation", across: .seen,
      series: runs.indices.flatMap { run in
        [Chart.Style.main, .points].map { style in
          Chart.Series(
            run: run, metric: "validation_positions", label: "validation", style: style,
            points: runs[run].metrics.positions)
        }
      })
    return [
      bits, positions,
      Chart(
        title: "Accuracy", unit: "share of the bytes asked for",
        series: plain("validation_accuracy", "validation", .points)
          + plain("validation_accuracy", "validation", .raw)),
      Chart(
        title: "Throughput", unit: "bytes per second",
        series: smoothed("bytes_per_second", "all ranks")),
      time,
      Chart(
        title: "Memory of rank 0", unit: "bytes",
        series: plain("peak_rss_bytes", "peak so far", .main)
          + plain("planned_rss_bytes", "planned", .dashed)),
      Chart(
        title: "Gradient norm", unit: "", series: smoothed("gradient_norm", "before clipping")),
      Chart(
        title: "Learning rate", unit: "", series: plain("learning_rate", "learning rate", .main)),
    ]
  }

  // MARK: The page

  private func figure(_ chart: Chart) -> String {
    let picture = chart.svg()
    guard !picture.isEmpty else { return "" }
    var seen: Set<String> = []
    let drawn = chart.series.filter { !$0.points.isEmpty }
    let legend = drawn.filter { seen.insert($0.label).inserted }.map { series in
      #"<span><svg class="key" viewBox="0 0 24 10"><path class="\#(series.style.rawValue) run0" d="M1 5H23"/></svg> \#(escaped(series.label))</span>"#
    }
    let unit = chart.unit.isEmpty ? "" : " <small>\(escaped(chart.unit))</small>"
    return """
      <figure>
      <h2>\(escaped(chart.title))\(unit)</h2>
      \(picture)
      <figcaption>\(legend.joined(separator: " "))</figcaption>
      </figure>
      """
  }

  /// The page.
  package var html: String { html(reloading: nil) }

  /// The page, which a browser loads again every so many seconds, if any.
  func html(reloading seconds: Int?) -> String {
    let title = runs.map(\.name).joined(separator: ", ")
    let names = runs.enumerated().map { index, run in
      #"<span class="name run\#(index % 6)">\#(escaped(run.name))</span>"#
    }
    return """
      <!DOCTYPE html>
      <html xmlns="http://www.w3.org/1999/xhtml" lang="en">
      <head>
      <meta charset="utf-8"/>
      <meta name="viewport" content="width=device-width, initial-scale=1"/>\(seconds.map { #"<meta http-equiv="refresh" content="\#($0)"/>"# } ?? "")
      <title>\(escaped(title))</title>
      <style>\(PageStyle.text)</style>
      </head>
      <body>
      <h1>\(names.joined(separator: " "))</h1>
      \(lead)
      \(RunTables.summary(runs))
      <div class="charts">
      \(charts.map(figure).joined(separator: "\n"))
      </div>
      <p class="note">Running means are over a fiftieth of the bytes. Values far above nineteen in twenty others may lie above a picture. \(escaped(notes))</p>
      \(RunTables.samples(runs))
      \(RunTables.completions(runs))
      \(RunTables.hashing(runs))
      \(RunTables.differences(runs))
      \(RunTables.checkpoints(runs))
      \(RunTables.origins(runs))
      \(RunTables.configs(runs))
      </body>
      </html>

      """
  }

  private var notes: String {
    let sparse = runs.filter { $0.metrics.stride > 1 }.map {
      "Of \($0.name) the figures of one step in \($0.metrics.stride) are shown."
    }
    let broken = runs.filter { $0.metrics.brokenLines > 0 }.map {
      "\($0.metrics.brokenLines) lines of metrics.jsonl of \($0.name) cannot be read."
    }
    return (sparse + broken + compressors.map(\.description)).joined(separator: " ")
  }
}
