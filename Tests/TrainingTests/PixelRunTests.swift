// Whole runs of data.task = "pixels": images that go on where they are half known, the picture of them, and what the task
// does not go with.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Runs on images", .serialized)
struct PixelRunTests {
  private static let (rows, columns, channels) = (6, 4, 3)
  private static let image = rows * columns * channels
  let tiny: TinyRun
  private let keys: [String]

  /// Images that become brighter downwards, each in a colour of its own.
  private static func image(_ number: Int) -> [UInt8] {
    (0..<image).map { place in
      UInt8((number * 37 + place % channels * 80 + place / (columns * channels) * 5) % 256)
    }
  }

  init() throws {
    tiny = try TinyRun()
    let corpus = try tiny.folder.write("images", (0..<40).flatMap(Self.image))
    keys = [
      "data.task=pixels", "data.image=[6,4,3]", "data.corpus=\(corpus)",
      "data.length=\(Self.image)",
      "data.split=[0.8,0.1,0.1]", "model.layers=[local, full]", "model.axial_shape=[6,4,3]",
      "model.axial_widths=[8,8,16]",
    ]
  }

  private func train(_ name: String, ranks: Int? = nil, _ more: [String] = []) throws -> ProgramRun
  {
    try tiny.train(name, ranks: ranks, keys.flatMap { ["--set", $0] } + more)
  }

  private func command(_ arguments: String...) throws -> ProgramRun {
    try ProgramRun("reformer-train", arguments: arguments)
  }

  /// Width, height and rows of pixels of a picture, read by the letter of its format.
  private func decode(_ path: String) throws -> (columns: Int, rows: Int, lines: [[UInt8]]) {
    var rest = try Array(Data(contentsOf: URL(fileURLWithPath: path)))[...]
    func take(_ count: Int) -> [UInt8] {
      defer { rest = rest.dropFirst(count) }
      return Array(rest.prefix(count))
    }
    func number(_ bytes: [UInt8]) -> Int { bytes.reduce(0) { $0 << 8 | Int($1) } }
    #expect(take(8) == [137, 80, 78, 71, 13, 10, 26, 10])
    var (head, data) = ([UInt8](), [UInt8]())
    while !rest.isEmpty {
      let count = number(take(4))
      let named = take(4 + count)
      // CRC-32 bit by bit: the remainder of a division by its polynomial.
      var remainder: UInt32 = ~0
      for byte in named {
        for bit in 0..<8 {
          let isSet = (remainder ^ UInt32(byte >> bit)) & 1 == 1
          remainder = remainder >> 1 ^ (isSet ? 0xEDB8_8320 : 0)
        }
      }
      #expect(number(take(4)) == Int(~remainder))
      switch String(decoding: named.prefix(4), as: UTF8.self) {
      case "IHDR": head = Array(named.dropFirst(4))
      case "IDAT": data += named.dropFirst(4)
      case let name: #expect(name == "IEND" && count == 0 && rest.isEmpty)
      }
    }
    let (columns, rows) = (number(Array(head[0..<4])), number(Array(head[4..<8])))
    #expect(Array(head[8...]) == [8, 2, 0, 0, 0])
    // A zlib stream's head is a multiple of 31.
    #expect((Int(data[0]) << 8 + Int(data[1])) % 31 == 0)
    var (pixels, place, isLast) = ([UInt8](), 2, false)
    while !isLast {
      isLast = data[place] == 1
      let count = Int(data[place + 1]) | Int(data[place + 2]) << 8
      #expect(data[place + 3] == ~data[place + 1] && data[place + 4] == ~data[place + 2])
      pixels += data[place + 5..<place + 5 + count]
      place += 5 + count
    }
    let low = pixels.reduce(1) { ($0 + Int($1)) % 65_521 }
    let high = pixels.reduce((1, 0)) { sums, byte in
      let low = (sums.0 + Int(byte)) % 65_521
      return (low, (sums.1 + low) % 65_521)
    }.1
    #expect(number(Array(data[place...])) == high << 16 | low)
    let line = 1 + columns * Self.channels
    try #require(pixels.count == rows * line)
    return (
      columns, rows,
      (0..<rows).map { row in
        #expect(pixels[row * line] == 0)
        return Array(pixels[row * line + 1..<(row + 1) * line])
      }
    )
  }

  /// The image at a place of the grid.
  private func part(_ lines: [[UInt8]], row: Int, column: Int) -> [UInt8] {
    let left = column * (Self.columns + 2) * Self.channels
    return lines[row * (Self.rows + 2)..<row * (Self.rows + 2) + Self.rows].flatMap {
      $0[left..<left + Self.columns * Self.channels]
    }
  }

  @Test(
    "images are completed below their upper halves, with the same numbers at any number of threads")
  func complete() throws {
    let run = try train("run")
    try #require(run.status == 0, "\(run.output)")
    // Four images are held out, and of each all numbers but the first are scored.
    let score = try command("evaluate", tiny.output("run"), "--json")
    #expect(score.output.contains("\"bytes\" : \(4 * (Self.image - 1))"), "\(score.output)")
    let other = tiny.folder.path("other.png")
    for (threads, path) in [("1", nil), ("2", other)] {
      let place = path.map { ["--output", $0] } ?? []
      let picture = try ProgramRun(
        "reformer-train",
        arguments: ["complete", tiny.output("run"), "--images", "2", "--samples", "2"]
          + ["--temperature", "2"]
          + ["--threads", threads] + place)
      try #require(picture.status == 0, "\(picture.output)")
    }
    let own = tiny.output("run") + "/completions.png"
    #expect(
      try Data(contentsOf: URL(fileURLWithPath: own))
        == Data(contentsOf: URL(fileURLWithPath: other)))
    let (columns, rows, lines) = try decode(own)
    #expect(columns == 4 * Self.columns + 6 && rows == 2 * Self.rows + 2)
    let half = Self.image / 2
    var samples: Set<[UInt8]> = []
    for row in 0..<2 {
      let image = Self.image(36 + row)
      #expect(part(lines, row: row, column: 3) == image)
      let given = part(lines, row: row, column: 0)
      #expect(
        given.prefix(half) == image.prefix(half) && given.dropFirst(half).allSatisfy { $0 == 128 })
      for column in 1...2 {
        let sample = part(lines, row: row, column: column)
        #expect(sample.prefix(half) == image.prefix(half))
        samples.insert(sample)
      }
    }
    #expect(samples.count == 4)
    // What lies between them is gray.
    #expect(lines[Self.rows].allSatisfy { $0 == 128 })
    let report = try command("report", tiny.output("run"), "--output", tiny.folder.path("page"))
    #expect(report.status == 0, "\(report.output)")
    let page = try String(contentsOfFile: tiny.folder.path("page"), encoding: .utf8)
    #expect(page.contains("data:image/png;base64,iVBOR"))
  }

  @Test("two ranks train the bits of one, with stages that are parts of images and several of them")
  func ranks() throws {
    let stages = [
      "--set", "data.block=\(2 * Self.image)", "--set", "data.length_schedule.share=[0.3,0.3]",
      "--set", "data.length_schedule.length=[\(Self.image / 4),\(Self.image)]",
      "--set", "data.length_schedule.windows=[4,4]", "--set", "data.length=\(2 * Self.image)",
      "--set", "model.axial_shape=[12,4,3]",
    ]
    for (name, ranks) in [("one", 1), ("two", 2)] {
      let run = try train(name, ranks: ranks, stages)
      try #require(run.status == 0, "\(run.output)")
    }
    #expect(try tiny.digest("one") == tiny.digest("two"))
  }

  @Test(
    "what does not go with images is named",
    arguments: [
      ("data.image=[6,4,2]", "data.image = [6, 4, 2]; legal values: three sizes, the last 1 or 3"),
      ("data.image=[]", "data.image = []; legal values: three sizes"),
      ("data.length=70", "data.length = 70; legal values: multiples or divisors of 72"),
      ("data.order=streams", "data.order = \"streams\"; legal values: random"),
      ("data.task=bytes", "data.image = [6, 4, 3]; legal values: [] unless data.task"),
      ("run.sample_bytes=10", "run.sample_bytes = 10; legal values: 0 with data.task"),
    ])
  func wrong(setting: String, message: String) throws {
    let run = try train("wrong", ["--set", setting])
    #expect(run.status == 2 && run.output.contains(message), "\(run.output)")
    #expect(run.output.split(separator: "\n").count == 1, "\(run.output)")
  }

  @Test("only images are completed, and as many as there are")
  func refused() throws {
    try #require(try train("run", ["--steps", "1"]).status == 0)
    try #require(try tiny.train("text", ["--steps", "1"]).status == 0)
    for (arguments, message) in [
      (["text"], "data.task is bytes: only images can be completed"),
      (["run", "--images", "5"], "--images 5: the test split of"),
      (["run", "--samples", "0"], "legal values: 1 or more twice"),
      (["run", "--temperature=-1"], "--temperature -1.0; legal values"),
    ] {
      let run = try ProgramRun(
        "reformer-train",
        arguments: ["complete", tiny.output(arguments[0])] + arguments.dropFirst())
      #expect(run.status == 2 && run.output.contains(message), "\(run.output)")
    }
  }
}
