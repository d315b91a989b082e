// A chart as SVG: axes, curves, and numbers that say how they are drawn.
import Foundation

/// Curves over one pair of axes.
struct Chart {
  /// How a curve looks.
  enum Style: String {
    /// Every value, faint.
    case raw
    /// The line people look at.
    case main
    case dashed
    case dotted
    /// Single measurements.
    case points
    /// Other single measurements.
    case rings
  }

  /// One curve, of one run.
  struct Series {
    /// The run's number, which gives the colour.
    let run: Int
    /// The key of the metrics it shows.
    let metric: String
    /// What it is, in the legend.
    let label: String
    let style: Style
    let points: [CurvePoint]
  }

  /// A value that is the same everywhere, as a line across.
  struct Level {
    let label: String
    let y: Double
  }

  /// What the horizontal axis counts.
  enum Across {
    /// Bytes trained on.
    case trained
    /// Bytes of the window that a byte is predicted from; points have their binary logarithm.
    case seen
  }

  let title: String
  /// What the numbers of the vertical axis are.
  let unit: String
  var across = Across.trained
  var series: [Series] = []
  var levels: [Level] = []

  /// Points of a curve that are drawn: twice the pixels of a phone.
  private static let mostPoints = 800
  // In the units of the picture, which is drawn as wide as there is room.
  private static let (width, height) = (460.0, 266.0)
  private static let (left, right, top, bottom) = (56.0, 446.0, 10.0, 226.0)

  /// The picture; empty where there is nothing to draw.
  func svg() -> String {
    let drawn = series.filter { !$0.points.isEmpty }
    guard !drawn.isEmpty else { return "" }
    let x = Axis(0, drawn.flatMap(\.points).map(\.x).max() ?? 1, endsAtTick: false)
    let y = vertical(drawn)
    func place(_ point: CurvePoint) -> (x: Double, y: Double) {
      (
        Self.left + x.share(point.x) * (Self.right - Self.left),
        Self.bottom - y.share(point.y) * (Self.bottom - Self.top)
      )
    }
    var lines: [String] = []
    for tick in y.ticks {
      let height = number(place(CurvePoint(x: 0, y: tick)).y)
      lines.append(
        #"<path class="grid" d="M\#(number(Self.left)) \#(height)H\#(number(Self.right))"/>"#)
      lines.append(
        #"<text x="\#(number(Self.left - 6))" y="\#(height)" dy="0.35em" text-anchor="end">\#(label(tick))</text>"#
      )
    }
    for tick in x.ticks {
      let across = number(place(CurvePoint(x: tick, y: 0)).x)
      lines.append(
        #"<text x="\#(across)" y="\#(number(Self.bottom + 18))" text-anchor="middle">\#(acrossLabel(tick))</text>"#
      )
    }
    for (index, level) in levels.enumerated() {
      // Beside each other, as the lines may be close.
      let end = Self.right - 110 * Double(index % 4)
      let height = place(CurvePoint(x: 0, y: level.y)).y
      lines.append(
        #"<path class="level" data-level="\#(escaped(level.label))" data-y="\#(level.y)" d="M\#(number(Self.left)) \#(number(height))H\#(number(Self.right))"/>"#
      )
      lines.append(
        #"<text class="level" x="\#(number(end))" y="\#(number(height - 3))" text-anchor="end">\#(escaped(level.label))</text>"#
      )
    }
    lines += drawn.map { curve($0, place: place) }
    return #"""
      <svg viewBox="0 0 \#(Int(Self.width)) \#(Int(Self.height))" role="img" aria-label="\#(escaped(title))" data-left="\#(Self.left)" data-right="\#(Self.right)" data-top="\#(Self.top)" data-bottom="\#(Self.bottom)" data-x-from="\#(x.from)" data-x-to="\#(x.to)" data-y-from="\#(y.from)" data-y-to="\#(y.to)">
      <clipPath id="\#(identifier)"><rect x="\#(Self.left - 4)" y="\#(Self.top - 4)" width="\#(Self.right - Self.left + 8)" height="\#(Self.bottom - Self.top + 8)"/></clipPath>
      \#(lines.joined(separator: "\n"))
      <text x="\#(number(Self.right))" y="\#(number(Self.height - 5))" text-anchor="end">\#(across == .trained ? "bytes trained on" : "bytes seen in the window")</text>
      </svg>
      """#
  }

  private var identifier: String { "clip-" + title.lowercased().replacing(" ", with: "-") }

  private func curve(
    _ series: Series, place: (CurvePoint) -> (x: Double, y: Double)
  ) -> String {
    let last = series.points[series.points.count - 1]
    let attributes =
      #"class="\#(series.style.rawValue) run\#(series.run % 6)" data-run="\#(series.run)" data-metric="\#(series.metric)" data-last-x="\#(last.x)" data-last-y="\#(last.y)" clip-path="url(#\#(identifier))""#
    let places = series.points.thinned(to: Self.mostPoints).map(place)
    if [.points, .rings].contains(series.style) {
      let dots = zip(series.points.thinned(to: Self.mostPoints), places).map { point, place in
        #"<circle cx="\#(number(place.x))" cy="\#(number(place.y))" r="3"><title>\#(escaped(series.label)) \#(String(format: "%.4f", point.y)) \#(escaped(unit)) \#(across == .trained ? "after" : "from") \#(amount(across == .trained ? point.x : exp2(point.x), "B"))</title></circle>"#
      }
      return "<g \(attributes)>\(dots.joined())</g>"
    }
    let steps = places.map { "\(number($0.x)) \(number($0.y))" }
    return #"<path \#(attributes) d="M\#(steps.joined(separator: "L"))"/>"#
  }

  /// From the least value to the greatest; or, where few are far above the others, to one that nineteen in twenty of
  /// each curve are below, and no last one above: the first steps of a run would leave no room for the rest.
  private func vertical(_ drawn: [Series]) -> Axis {
    var (least, usual, greatest) = (Double.infinity, -Double.infinity, -Double.infinity)
    for series in drawn {
      let values = series.points.map(\.y).sorted()
      least = min(least, values[0])
      usual = max(usual, values[(values.count - 1) * 19 / 20], series.points[values.count - 1].y)
      greatest = max(greatest, values[values.count - 1])
    }
    for level in levels { (least, usual) = (min(least, level.y), max(usual, level.y)) }
    // Sizes are compared with nothing.
    if unit == "bytes" { least = 0 }
    return Axis(least, greatest - least > 2 * (usual - least) ? usual : max(usual, greatest))
  }

  private func acrossLabel(_ value: Double) -> String {
    label(across == .trained ? value : exp2(value).rounded())
  }

  private func label(_ value: Double) -> String {
    guard abs(value) < 1000 else {
      return amount(value, "").replacing(/\.?0+(?= )/, with: "")
    }
    return String(format: "%.4g", value)
  }

  /// A coordinate, to a hundredth.
  private func number(_ value: Double) -> String {
    let text = String(format: "%.2f", value)
    return text.hasSuffix(".00") ? String(text.dropLast(3)) : text
  }
}

/// An axis with round numbers on it.
private struct Axis {
  let from: Double
  let to: Double
  let ticks: [Double]

  /// An axis on which `least` and `greatest` lie; `endsAtTick`: not just there, but at the next round number.
  init(_ least: Double, _ greatest: Double, endsAtTick: Bool = true) {
    let span = greatest > least ? greatest - least : max(abs(greatest), 1e-9)
    let rough = span / 5
    let power = pow(10, floor(log10(rough)))
    let step = power * ([1, 2, 5].first { $0 * power >= rough } ?? 10)
    let first = floor(least / step) * step
    let end = endsAtTick ? ceil(greatest / step) * step : greatest
    from = first
    to = max(end, first + span)
    ticks = (0...Int(((to - from) / step + 1e-9).rounded(.down))).map { first + Double($0) * step }
  }

  /// Where `value` is, from 0 to 1.
  func share(_ value: Double) -> Double { (value - from) / (to - from) }
}

/// `text` as it stands in HTML.
func escaped(_ text: String) -> String {
  text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    .replacing("\"", with: "&quot;")
}
