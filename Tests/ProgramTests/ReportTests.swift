// The page about runs: what is drawn is what the metrics say, and it needs nothing but itself.
import Foundation
import TestSupport
import Testing

#if canImport(FoundationXML)
  import FoundationXML
#endif

/// A page, read as a browser would.
private final class Page: NSObject, XMLParserDelegate {
  /// A curve and the picture it is in.
  struct Curve {
    let picture: [String: String]
    let attributes: [String: String]
    /// Places in the picture.
    var drawn: [(x: Double, y: Double)] = []

    var metric: String { attributes["data-metric"] ?? "" }
    var run: String { attributes["data-run"] ?? "" }
    func number(_ name: String) -> Double { Double(attributes[name] ?? "") ?? .nan }

    /// The value at a place of the picture, and how much of a value a pixel is.
    func value(_ place: (x: Double, y: Double)) -> (x: Double, y: Double) {
      func size(_ name: String) -> Double { Double(picture[name] ?? "") ?? .nan }
      let across = (place.x - size("data-left")) / (size("data-right") - size("data-left"))
      let up = (size("data-bottom") - place.y) / (size("data-bottom") - size("data-top"))
      return (
        size("data-x-from") + across * (size("data-x-to") - size("data-x-from")),
        size("data-y-from") + up * (size("data-y-to") - size("data-y-from"))
      )
    }
  }

  private(set) var curves: [Curve] = []
  private(set) var levels: [[String: String]] = []
  private(set) var elements: Set<String> = []
  /// All text, with a space between elements.
  private(set) var text = ""
  private var picture: [String: String] = [:]

  /// Fails unless `html` is well formed.
  init(_ html: String) throws {
    super.init()
    let parser = XMLParser(data: Data(html.utf8))
    parser.delegate = self
    try #require(
      parser.parse(), "line \(parser.lineNumber): \(String(describing: parser.parserError))")
  }

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?,
    qualifiedName: String?, attributes: [String: String] = [:]
  ) {
    elements.insert(name)
    text += " "
    if name == "svg" { picture = attributes }
    if attributes["data-level"] != nil { levels.append(attributes) }
    if attributes["data-metric"] != nil {
      var curve = Curve(picture: picture, attributes: attributes)
      curve.drawn = (attributes["d"] ?? "").matches(of: /[ML]([-0-9.]+) ([-0-9.]+)/).map {
        (Double($0.1) ?? .nan, Double($0.2) ?? .nan)
      }
      curves.append(curve)
    }
    if name == "circle", !curves.isEmpty {
      curves[curves.count - 1].drawn.append(
        (Double(attributes["cx"] ?? "") ?? .nan, Double(attributes["cy"] ?? "") ?? .nan))
    }
  }

  func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }
}

@Suite("Reports of runs", .serialized)
struct ReportTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func file(_ name: String) throws -> String {
    try String(contentsOfFile: tiny.folder.path(name), encoding: .utf8)
  }

  private func report(_ runs: [String], _ options: [String] = []) throws -> ProgramRun {
    try ProgramRun("reformer-train", arguments: ["report"] + runs.map(tiny.output) + options)
  }

  /// The last value of each key in the metrics of `run`.
  private func lastValues(_ run: String) throws -> [String: Double] {
    try file("\(run)/metrics.jsonl").split(separator: "\n").reduce(into: [:]) { values, line in
      let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      for (key, value) in object ?? [:] { values[key] = (value as? NSNumber)?.doubleValue }
    }
  }

  /// Compares the last point of each curve of run `number` with the last value in its metrics, to a pixel of a page of
  /// 1,440 pixels, where a picture of 460 units is 600 pixels wide.
  private func compareLastPoints(_ page: Page, run number: Int, _ last: [String: Double]) throws {
    // That by position is of other places.
    let curves = page.curves.filter {
      $0.run == "\(number)" && $0.metric != "validation_positions"
    }
    for curve in curves {
      let place = try #require(curve.drawn.last)
      let value = curve.value(place)
      let pixel = curve.value((place.x + 460 / 600, place.y - 460 / 600))
      let expected =
        curve.metric.hasSuffix("_mean") ? curve.number("data-last-y") : last[curve.metric]
      let y = try #require(expected, "\(curve.metric)")
      // JSONSerialization does not round the last digit correctly.
      #expect(abs(curve.number("data-last-y") - y) <= 1e-14 * abs(y), "\(curve.metric)")
      #expect(abs(value.y - y) <= pixel.y - value.y, "\(curve.metric): \(value.y), not \(y)")
      let bytes = try #require(last["trained_bytes"])
      #expect(
        abs(value.x - bytes) <= pixel.x - value.x, "\(curve.metric): \(value.x), not \(bytes)")
    }
    #expect(
      Set(curves.map(\.metric)).isSuperset(of: [
        "bits_per_byte", "bits_per_byte_mean", "prequential_bits_per_byte",
        "validation_bits_per_byte", "bytes_per_second", "step_seconds", "peak_rss_bytes",
        "planned_rss_bytes", "gradient_norm", "learning_rate",
      ]), "\(curves.map(\.metric))")
  }

  @Test("a run leaves its page, well formed, whose curves end at the metrics' last values")
  func ownPage() throws {
    let run = try tiny.train("run", ["--set", "run.evaluate_every=4", "--set", "run.steps=12"])
    #expect(run.status == 0, "\(run.output)")
    #expect(run.output.contains("its curves are in \(tiny.output("run"))/report.html"))
    let html = try file("run/report.html")
    let page = try Page(html)
    let last = try lastValues("run")
    try compareLastPoints(page, run: 0, last)
    // The running mean, from its definition: each step weighs its bytes, less 1/e for each fiftieth of all.
    let bytes = try #require(last["trained_bytes"])
    var (sum, weight) = (0.0, 0.0)
    for line in try file("run/metrics.jsonl").split(separator: "\n")
    where line.contains("loss_nats") {
      let values = try #require(
        try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      let place = try #require(values["trained_bytes"] as? NSNumber).doubleValue
      let share = bytes / 12 * exp(-(bytes - place) / (bytes / 50))
      sum += share * (try #require(values["bits_per_byte"] as? NSNumber)).doubleValue
      weight += share
    }
    let mean = try #require(page.curves.first { $0.metric == "bits_per_byte_mean" })
    #expect(abs(mean.number("data-last-y") - sum / weight) < 1e-9)
    // Every step and evaluation is drawn.
    #expect(page.curves.first { $0.metric == "bits_per_byte" }?.drawn.count == 12)
    #expect(page.curves.first { $0.metric == "validation_bits_per_byte" }?.drawn.count == 3)
    let validation = try #require(last["validation_bits_per_byte"])
    #expect(page.text.contains("12 of 12"))
    #expect(page.text.contains(String(format: "%.4f bits/byte", validation)))
    #expect(page.text.contains("best checkpoint") && page.text.contains("Checkpoints"))
    #expect(page.text.contains("learning_rate = 0.003"))
    // No network, no program, no time: nothing is fetched or run, and the same folder gives the same page.
    let foreign: Set = ["script", "link", "img", "iframe", "object", "image", "use"]
    #expect(page.elements.isDisjoint(with: foreign))
    let addresses = html.matches(of: /(?:src|href|@import|url\()[^>]{0,40}/).map {
      String($0.output)
    }
    #expect(addresses.allSatisfy { $0.hasPrefix("url(#clip-") }, "\(addresses)")
    #expect(html.contains("prefers-color-scheme: dark") && html.contains("width=device-width"))
    let again = try report(["run"])
    #expect(again.status == 0 && again.output == tiny.output("run/report.html") + "\n")
    #expect(try file("run/report.html") == html)
  }

  @Test("of several runs curves lie over each other, and a table says in which keys they differ")
  func several() throws {
    let slow = ["--set", "optimizer.learning_rate=0.001", "--steps", "3"]
    #expect(try tiny.train("a", ["--steps", "4", "--set", "run.evaluate_every=2"]).status == 0)
    try FileManager.default.createDirectory(
      atPath: tiny.folder.path("b"), withIntermediateDirectories: false)
    #expect(try tiny.train("b/a", slow + ["--set", "run.evaluate_every=1"]).status == 0)
    // Where a run went on from another's checkpoint, that is told.
    let resumed = try tiny.train("c", ["--resume", tiny.output("a"), "--steps", "6"])
    #expect(resumed.status == 0, "\(resumed.output)")
    let run = try report(["a", "b/a", "c"], ["--output", tiny.folder.path("all.html")])
    #expect(run.status == 0, "\(run.output)")
    let page = try Page(try file("all.html"))
    try compareLastPoints(page, run: 0, try lastValues("a"))
    try compareLastPoints(page, run: 1, try lastValues("b/a"))
    let words = page.text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    #expect(words.contains("optimizer.learning_rate 0.003 0.001 0.003"), "\(words)")
    #expect(words.contains("run.evaluate_every 2 1 0"), "\(words)")
    #expect(!words.contains("model.width 32"), "\(words)")
    // Two of the folders have one name.
    #expect(words.contains(tiny.output("b/a")))
    #expect(words.contains("went on from step 4, \(tiny.output("a"))"), "\(words)")
  }

  @Test("of 20,000 steps no spike is lost, and the page stays below 3 MB")
  func long() throws {
    #expect(try tiny.train("run", ["--steps", "1"]).status == 0)
    var lines = ""
    for step in 1...20_000 {
      let bits = 2 + 6 * exp(-Double(step) / 900) + 0.1 * sin(Double(step))
      lines += #"{"bits_per_byte":\#(bits),"bytes_per_second":\#(2e5 + Double(step % 7)),"#
      lines +=
        #""communication_exposed_seconds":0.01,"gradient_norm":\#(step == 12_345 ? 500 : 1.5),"#
      lines += #""learning_rate":0.001,"loss_nats":\#(bits * log(2)),"mean_rank_seconds":0.02,"#
      lines += #""peak_rss_bytes":50000000,"planned_rss_bytes":60000000,"#
      lines += #""prequential_bits_per_byte":\#(bits + 0.2),"step":\#(step),"step_seconds":0.02,"#
      lines += #""trained_bytes":\#(step * 4096)}"# + "\n"
      if step % 1000 == 0 {
        lines +=
          #"{"step":\#(step),"validation_bits_per_byte":\#(bits - 0.1),"validation_bytes":9}"#
          + "\n"
      }
    }
    // A killed run leaves half a line.
    try tiny.folder.write("run/metrics.jsonl", text: lines + #"{"step":20"#)
    #expect(try report(["run"]).status == 0)
    let html = try file("run/report.html")
    #expect(html.utf8.count < 3_000_000)
    let page = try Page(html)
    try tiny.folder.write("run/metrics.jsonl", text: lines)
    try compareLastPoints(page, run: 0, try lastValues("run"))
    #expect(page.text.contains("1 lines of metrics.jsonl of run cannot be read"))
    let norm = try #require(page.curves.first { $0.metric == "gradient_norm" })
    #expect(norm.drawn.count < 2000)
    let highest = try #require(norm.drawn.min { $0.y < $1.y })
    #expect(abs(norm.value(highest).y - 500) < 2)
    #expect(abs(norm.value(highest).x - 12_345 * 4096) < 12_345 * 41)
    #expect(page.curves.first { $0.metric == "validation_bits_per_byte" }?.drawn.count == 20)
  }

  @Test(
    "compressors are given exactly the bytes of the prequential score", .needs(.tools(["bzip2"])))
  func compressors() throws {
    // Of 10,002 bytes 9,001 are trained on: 100 windows of 90, whose places leave no choice, and the first byte.
    let bytes = Array(TinyRun.text(bytes: 11_000).utf8.prefix(10_002))
    try tiny.folder.write("corpus", bytes)
    #expect(try tiny.train("part", ["--steps", "10"]).status == 0)
    #expect(try tiny.train("whole", ["--set", "run.steps=30"]).status == 0)
    try tiny.folder.write("predicted", Array(bytes[1..<9001]))
    let packed = try ProgramRun(
      executable: try #require(ProgramRun.tool("bzip2")),
      arguments: ["-9", "-k", tiny.folder.path("predicted")])
    #expect(packed.status == 0, "\(packed.output)")
    let size = try Data(contentsOf: URL(fileURLWithPath: tiny.folder.path("predicted.bz2"))).count
    #expect(try report(["whole"], ["--compressors"]).status == 0)
    let page = try Page(try file("whole/report.html"))
    let level = try #require(page.levels.first { $0["data-level"] == "bzip2 -9" })
    // The byte that no window predicts costs 8 bits.
    let bits = 8 * Double(size + 1) / 9001
    #expect(abs((Double(level["data-y"] ?? "") ?? 0) - bits) < 1e-9, "\(level)")
    #expect(page.text.contains("each given the same 9000 bytes"), "\(page.text)")
    #expect(try report(["part"], ["--compressors"]).status == 0)
    #expect(try file("part/report.html").contains("each given the same 3600 bytes"))
    #expect(try report(["part"]).status == 0)
    #expect(try !file("part/report.html").contains("data-level"))
  }

  @Test("what the model wrote at each evaluation is in the page, and what bytes cost by position")
  func samples() throws {
    let options = ["--set", "run.evaluate_every=4", "--set", "run.steps=8"]
    #expect(
      try tiny.train("run", options + ["--set", "run.sample_bytes=20"]).status == 0)
    func evaluations(_ run: String) throws -> [[String: Any]] {
      try file("\(run)/metrics.jsonl").split(separator: "\n").compactMap {
        try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
      }.filter { $0["validation_bytes"] != nil }
    }
    let records = try evaluations("run")
    let texts = records.compactMap { $0["sample"] as? String }
    #expect(texts.count == 2)
    // The first bytes of the validation split, and what generate makes of them with the same choices.
    let bytes = Array(TinyRun.text().utf8)
    let start = String(
      decoding: bytes[(bytes.count * 9 / 10)...].prefix(64), as: UTF8.self)
    let generated = try ProgramRun(
      "reformer-train",
      arguments: [
        "generate", tiny.output("run"), "--prompt", start, "--bytes", "20", "--temperature", "0.7",
      ])
    let text = try #require(texts.last)
    #expect(text.hasPrefix(start) && generated.status == 0, "\(text)")
    #expect(generated.output.contains(text.dropFirst(start.count)), "\(generated.output)")
    let page = try Page(try file("run/report.html"))
    // All of it but for characters that a page cannot hold.
    #expect(page.text.contains("What it writes"))
    for part in text.split(whereSeparator: { $0.isASCII && !$0.isLetter }) {
      #expect(page.text.contains(part), "\(part) in \(page.text)")
    }
    let hashing = try #require(records.last?["validation_hashing"] as? [[String: Any]])
    #expect(hashing.map { $0["layer"] as? Int } == [1])
    let shares = ["bucket_balance", "same_bucket_share", "alone_share"].map {
      (hashing[0][$0] as? NSNumber)?.doubleValue ?? .nan
    }
    #expect(shares.allSatisfy { (0...1).contains($0) } && shares[0] > 0, "\(shares)")
    #expect(page.text.contains("What hashing does"))
    for share in shares { #expect(page.text.contains(String(format: "%.3f", share))) }
    // Neither parameters nor samples nor counts depend on the number of ranks.
    if ProgramRun.mpirun != nil {
      let both = try tiny.train("both", ranks: 2, options + ["--set", "run.sample_bytes=20"])
      #expect(both.status == 0, "\(both.output)")
      let twice = try evaluations("both")
      #expect(twice.compactMap { $0["sample"] as? String } == texts)
      #expect(twice.last?["validation_hashing"] as? NSArray == hashing as NSArray)
    }
    #expect(try tiny.train("plain", options).status == 0)
    #expect(try tiny.digest("plain") == tiny.digest("run"))
    let positions = try #require(records.last?["validation_positions"] as? [[String: Any]])
    let curve = try #require(
      page.curves.first {
        $0.metric == "validation_positions" && $0.drawn.count == positions.count
      })
    let last = try #require(positions.last?["bits_per_byte"] as? NSNumber).doubleValue
    #expect(abs(curve.number("data-last-y") - last) < 1e-9)
    #expect(abs(curve.number("data-last-x") - (6 + log2(90)) / 2) < 1e-9)
  }

  /// A port that nobody listens at.
  private static func freePort() throws -> Int {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(listener) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isFound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, size) == 0 && getsockname(listener, $0, &size) == 0
      }
    }
    try #require(isFound)
    return Int(UInt16(bigEndian: address.sin_port))
  }

  @Test("a server shows the page as the run goes on", .needs(.tools(["curl"])))
  func server() throws {
    #expect(try tiny.train("run", ["--steps", "5"]).status == 0)
    let curl = try #require(ProgramRun.tool("curl"))
    let port = try Self.freePort()
    var answers: [String] = []
    func get(_ path: String, _ options: [String] = []) {
      let run = try? ProgramRun(
        executable: curl,
        arguments: ["-s", "-i", "--max-time", "20", "http://localhost:\(port)\(path)"] + options)
      answers.append(run?.output ?? "")
    }
    let run = try ProgramRun(
      "reformer-train", arguments: ["report", tiny.output("run"), "--serve", "\(port)"],
      when: "http://localhost:\(port)/"
    ) { process in
      get("/")
      _ = try? tiny.train("run", ["--resume", "auto", "--steps", "6"])
      get("/")
      get("/elsewhere")
      get("/", ["-d", "text"])
      process.terminate()
    }
    #expect(run.status == 128 + SIGTERM, "\(run.output)")
    try #require(answers.count == 4)
    #expect(answers[0].hasPrefix("HTTP/1.1 200 OK") && answers[0].contains("5 of 20"))
    #expect(answers[1].contains("6 of 20") && answers[1].contains("http-equiv=\"refresh\""))
    #expect(answers[2].hasPrefix("HTTP/1.1 404") && answers[3].hasPrefix("HTTP/1.1 405"))
    // What is shown is the page that the run leaves, but for the word that loads it again.
    let shown = answers[1].drop { $0 != "<" }
      .replacing(#/<meta http-equiv="refresh" content="5"/>/#, with: "")
    #expect(try shown == file("run/report.html"))
    let refused = try report(["run"], ["--serve", "70000"])
    #expect(refused.status == 2 && refused.output.contains("legal values: 0 to 65535"))
  }

  @Test("what is no run is refused in a line; what is damaged in one is left out")
  func wrong() throws {
    for (runs, options, says) in [
      (["nowhere"], [], "no config.toml here; name the folder of a run"),
      (["nowhere", "else"], [], "2 runs: name the file to write with --output"),
    ] as [([String], [String], String)] {
      let run = try report(runs, options)
      #expect(run.status == 2 && run.output.contains(says), "\(run.output)")
    }
    #expect(try tiny.train("run", ["--steps", "5"]).status == 0)
    let unwritable = try report(["run"], ["--output", tiny.folder.path("no/where.html")])
    #expect(unwritable.status == 2, "\(unwritable.output)")
    #expect(unwritable.output.contains("the report cannot be written"), "\(unwritable.output)")
    #expect(try Page(try file("run/report.html")).text.contains("Checkpoints"))
    try tiny.folder.write("run/step-00000005/state.json", text: "{")
    #expect(try report(["run"]).status == 0)
    #expect(try !Page(try file("run/report.html")).text.contains("Checkpoints"))
    try FileManager.default.removeItem(atPath: tiny.folder.path("run/metrics.jsonl"))
    #expect(try report(["run"]).status == 2)
  }
}
