// What a power cut leaves of a folder: replays the list that Fixtures/disk_recorder.c keeps of a program's writing
// on a disk that forgets all that was not flushed.
//
// The disk is as strict as POSIX allows: the bytes of a file are safe once the file was flushed, a name once its
// folder was, and one says nothing about the other.
import Foundation
import TestSupport

/// The calls of one or more programs that changed a folder, in order.
struct DiskTrace {
  /// A call.
  struct Call {
    let kind: Kind
    let file: UInt64
    let offset: Int
    /// Bytes for `write`, else the path.
    let first: [UInt8]
    let second: [UInt8]

    var path: String { String(decoding: kind == .write ? second : first, as: UTF8.self) }
    var target: String { String(decoding: second, as: UTF8.self) }
    var bytes: [UInt8] { first }
  }

  enum Kind: UInt8 {
    case create = 67, truncate = 84, write = 87, flush = 83, flushFolder = 68, rename = 82
    case makeFolder = 77, remove = 85, link = 76
  }

  /// Which of the changes that were not flushed a cut takes.
  enum Loss: CaseIterable {
    /// All of them.
    case all
    /// Bytes; names are as they were.
    case bytes
    /// Names, and the second half of what was written.
    case namesAndHalf
    /// The second half of what was written.
    case half
  }

  private(set) var calls: [Call] = []

  /// Reads the list in `file`.
  init(file: String) throws {
    let data = try [UInt8](Data(contentsOf: URL(fileURLWithPath: file)))
    var place = 0
    while place < data.count {
      let head = (0..<5).map { index in
        data[(place + 8 * index)..<(place + 8 * index + 8)].reversed().reduce(UInt64(0)) {
          $0 << 8 | UInt64($1)
        }
      }
      let start = place + 40
      let middle = start + Int(head[3])
      let end = middle + Int(head[4])
      guard let kind = Kind(rawValue: UInt8(head[0])) else { throw Unreadable() }
      calls.append(
        Call(
          kind: kind, file: head[1], offset: Int(head[2]), first: Array(data[start..<middle]),
          second: Array(data[middle..<end])))
      place = end
    }
  }

  struct Unreadable: Error {}
}

/// The folder and all that is in it, as programs see it and as it would be after a cut.
final class ForgetfulDisk {
  private final class Node {
    enum Content {
      case file(bytes: [UInt8], flushed: [UInt8])
      case folder(names: [String: Node], flushed: [String: Node])
      case link(String)
    }
    var content: Content
    init(_ content: Content) { self.content = content }
  }

  private let path: String
  private let top = Node(.folder(names: [:], flushed: [:]))
  private var files: [UInt64: Node] = [:]

  /// An empty folder at `path`.
  init(path: String) { self.path = path }

  /// Makes the change of one call.
  func apply(_ call: DiskTrace.Call) {
    switch call.kind {
    case .create:
      let node = Node(.file(bytes: [], flushed: []))
      files[call.file] = node
      put(node, at: call.path)
    case .truncate:
      change(call.file) { $0 = Array($0.prefix(call.offset)) }
    case .write:
      change(call.file) { bytes in
        let end = call.offset + call.bytes.count
        if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
        bytes.replaceSubrange(call.offset..<end, with: call.bytes)
      }
    case .flush:
      guard let node = files[call.file], case .file(let bytes, _) = node.content else { return }
      node.content = .file(bytes: bytes, flushed: bytes)
    case .flushFolder:
      guard let node = node(at: parts(call.path)), case .folder(let names, _) = node.content
      else { return }
      node.content = .folder(names: names, flushed: names)
    case .makeFolder: put(Node(.folder(names: [:], flushed: [:])), at: call.path)
    case .link: put(Node(.link(call.target)), at: call.path)
    case .remove: put(nil, at: call.path)
    case .rename:
      let moved = node(at: parts(call.path))
      put(nil, at: call.path)
      put(moved, at: call.target)
    }
  }

  /// What a cut now would leave of the disk.
  func rest(after loss: DiskTrace.Loss) -> DiskRest { rest(top, loss) }

  private func rest(_ node: Node, _ loss: DiskTrace.Loss) -> DiskRest {
    switch node.content {
    case .link(let target): return .link(target)
    case .folder(let names, let flushed):
      let left = loss == .all || loss == .namesAndHalf ? flushed : names
      return .folder(left.mapValues { rest($0, loss) })
    case .file(let bytes, let flushed):
      let isHalf = loss == .half || loss == .namesAndHalf
      return .file(
        isHalf && bytes != flushed
          ? Array(bytes.prefix((flushed.count + bytes.count) / 2)) : flushed)
    }
  }

  private func change(_ file: UInt64, _ body: (inout [UInt8]) -> Void) {
    guard let node = files[file], case .file(var bytes, let flushed) = node.content else { return }
    body(&bytes)
    node.content = .file(bytes: bytes, flushed: flushed)
  }

  private func parts(_ full: String) -> [String] {
    full.dropFirst(path.count).split(separator: "/").map(String.init)
  }

  private func node(at parts: [String]) -> Node? {
    parts.reduce(Optional(top)) { node, name in
      guard let node, case .folder(let names, _) = node.content else { return nil }
      return names[name]
    }
  }

  private func put(_ child: Node?, at full: String) {
    let parts = parts(full)
    guard let name = parts.last, let folder = node(at: parts.dropLast()),
      case .folder(var names, let flushed) = folder.content
    else { return }
    names[name] = child
    folder.content = .folder(names: names, flushed: flushed)
  }
}

/// What is left of a file, a link, or a folder with all that is in it.
enum DiskRest: Equatable {
  case file([UInt8])
  case folder([String: DiskRest])
  case link(String)

  /// Puts it at `place`.
  func write(to place: String) throws {
    switch self {
    case .file(let bytes): try Data(bytes).write(to: URL(fileURLWithPath: place))
    case .link(let target):
      try FileManager.default.createSymbolicLink(atPath: place, withDestinationPath: target)
    case .folder(let names):
      try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
      for (name, child) in names { try child.write(to: "\(place)/\(name)") }
    }
  }
}
