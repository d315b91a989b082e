// The tables of a page about runs.
import Foundation

/// Tables as HTML, a column or rows for each run.
enum RunTables {
  static func table(_ title: String, head: [String], _ rows: [[String]]) -> String {
    guard !rows.isEmpty else { return "" }
    func line(_ cells: [String], _ tag: String) -> String {
      "<tr>" + cells.map { "<\(tag)>\(escaped($0))</\(tag)>" }.joined() + "</tr>"
    }
    let body = rows.map { line($0, "td") }.joined(separator: "\n")
    return """
      <section>
      \(title.isEmpty ? "" : "<h2>\(escaped(title))</h2>")
      <div class="wide"><table>
      <thead>\(line(head, "th"))</thead>
      <tbody>
      \(body)
      </tbody>
      </table></div>
      </section>
      """
  }

  /// What each run has come to.
  static func summary(_ runs: [RunHistory]) -> String {
    func row(_ name: String, _ value: (RunHistory) -> String?) -> [String]? {
      let values = runs.map(value)
      return values.allSatisfy { $0 == nil } ? nil : [name] + values.map { $0 ?? "" }
    }
    func bits(_ key: String) -> (RunHistory) -> String? {
      { $0.metrics.last(key).map { String(format: "%.4f bits/byte", $0) } }
    }
    let rows = [
      row("steps") { "\($0.lastStep) of \($0.config.run.steps)" },
      row("trained on") { $0.metrics.last("trained_bytes").map { amount($0, "B") } },
      row("validation", bits("validation_bits_per_byte")),
      row("best checkpoint") { run in
        guard let state = run.steps.last?.state, let step = state.bestStep,
          let bits = state.bestBitsPerByte
        else { return nil }
        return String(format: "step %d, %.4f bits/byte", step, bits)
      },
      row("prequential", bits("prequential_bits_per_byte")),
      row("throughput") { run in
        // Over all steps, however long each took.
        let seconds = run.metrics.steps.reduce(0) { $0 + ($1.stepSeconds ?? 0) }
        let bytes = run.metrics.steps.reduce(0) {
          $0 + ($1.bytesPerSecond ?? 0) * ($1.stepSeconds ?? 0)
        }
        return seconds > 0 ? amount(bytes / seconds, "B/s") : nil
      },
      row("time in steps") { run in
        guard run.metrics.stride == 1 else { return nil }
        return duration(run.metrics.steps.reduce(0) { $0 + ($1.stepSeconds ?? 0) })
      },
      row("memory of rank 0") { run in
        run.metrics.last("peak_rss_bytes").map { peak in
          amount(peak, "B")
            + (run.metrics.last("planned_rss_bytes").map { ", planned \(amount($0, "B"))" } ?? "")
        }
      },
      row("skipped steps") { run in
        let skipped = run.steps.last?.state.skippedSteps ?? 0
        return skipped > 0 ? "\(skipped)" : nil
      },
    ]
    return table("", head: [""] + runs.map(\.name), rows.compactMap { $0 })
  }

  /// What each run wrote as it learnt.
  static func samples(_ runs: [RunHistory]) -> String {
    let rows = runs.flatMap { run in
      run.metrics.samples.map { sample in
        [
          run.name, "\(sample.step)", sample.bitsPerByte.map { String(format: "%.4f", $0) } ?? "",
          printable(sample.text),
        ]
      }
    }
    return table(
      "What it writes", head: ["run", "step", "validation bits/byte", "text"], rows)
  }

  /// The picture that `complete` left in a run's folder.
  static func completions(_ runs: [RunHistory]) -> String {
    runs.compactMap { run in
      let path = run.folder + "/" + ImageCompletions.name
      guard let picture = FileManager.default.contents(atPath: path) else { return nil }
      return """
        <figure>
        <h2>Images completed <small>\(escaped(run.name)): what is given, samples, the image</small></h2>
        <img class="pixels" alt="completed images" src="data:image/png;base64,\(picture.base64EncodedString())"/>
        </figure>
        """
    }.joined(separator: "\n")
  }

  /// What the hashes of each layer came to in the last evaluation.
  static func hashing(_ runs: [RunHistory]) -> String {
    let rows = runs.flatMap { run in
      (run.metrics.evaluations.last?.validationHashing ?? []).map { score in
        [run.name, "\(score.layer)"]
          + [score.bucketBalance, score.sameBucketShare, score.aloneShare].map {
            String(format: "%.3f", $0)
          }
      }
    }
    return table(
      "What hashing does",
      head: [
        "run", "layer", "balance of buckets", "keys seen of the own bucket", "queries left alone",
      ], rows)
  }

  /// `text` with each character that a page cannot hold as a dot.
  private static func printable(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { scalar in
          let isControl = scalar.properties.generalCategory == .control && scalar != "\n"
          return isControl || (scalar.value & 0xFFFE) == 0xFFFE ? "\u{B7}" : scalar
        }))
  }

  /// The keys whose values differ between the configs.
  static func differences(_ runs: [RunHistory]) -> String {
    guard runs.count > 1 else { return "" }
    let rows = ConfigKey.all.compactMap { key -> [String]? in
      let values = runs.map { key.get($0.config).toml }
      return Set(values).count > 1 ? [key.name] + values : nil
    }
    return table("What differs between the configs", head: ["key"] + runs.map(\.name), rows)
  }

  /// The checkpoints in the run folders.
  static func checkpoints(_ runs: [RunHistory]) -> String {
    let rows = runs.flatMap { run in
      run.steps.map { step in
        let state = step.state
        let isScored = state.validationStep == state.step
        return [
          run.name,
          "\(state.step)" + (run.steps.last?.state.bestStep == state.step ? " (best)" : ""),
          isScored ? state.validationBitsPerByte.map { String(format: "%.4f", $0) } ?? "" : "",
          amount(Double(state.trainedBytes), "B"), "\(step.ranks)", amount(Double(step.bytes), "B"),
        ]
      }
    }
    return table(
      "Checkpoints",
      head: ["run", "step", "validation bits/byte", "trained on", "ranks", "size"], rows)
  }

  /// What trained the runs, and what they went on from.
  static func origins(_ runs: [RunHistory]) -> String {
    let rows = runs.flatMap { run -> [[String]] in
      guard let origin = run.origin else { return [] }
      let machine = origin.bitsDoNotDependOn
      return [
        [run.name, "program", "\(origin.program)"],
        [run.name, "matrix products", origin.bitsDependOn.matrixProducts],
        [
          run.name, "machine",
          "\(machine.processor) (\(machine.instructionSet)), \(machine.system), \(machine.cLibrary)",
        ],
        [run.name, "corpus", run.steps.last.map { "\($0.state.corpus)" } ?? ""],
      ] + run.ancestors.map { [run.name, "went on from", "step \($0.step), \($0.checkpoint)"] }
    }
    return table("Where it comes from", head: ["run", "", ""], rows)
  }

  /// The resolved configs.
  static func configs(_ runs: [RunHistory]) -> String {
    runs.map { run in
      """
      <details><summary>config of \(escaped(run.name))</summary>
      <pre>\(escaped(run.config.toml))</pre>
      </details>
      """
    }.joined(separator: "\n")
  }
}
