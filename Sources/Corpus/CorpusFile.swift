// Which files a corpus is made of: the paths of the config, folders and names resolved.
import Glibc

/// What tells one state of a file from another without reading it.
struct FileIdentity: Hashable, Sendable {
  /// Its size.
  let bytes: Int
  /// When the content was changed, in nanoseconds since 1970; programs may set it.
  let modified: Int
  /// When content or attributes were changed, which programs cannot set: it shows changes that put
  /// `modified` back.
  let changed: Int
  let inode: UInt64

  init(_ status: stat) {
    bytes = Int(status.st_size)
    modified = status.st_mtim.tv_sec * 1_000_000_000 + status.st_mtim.tv_nsec
    changed = status.st_ctim.tv_sec * 1_000_000_000 + status.st_ctim.tv_nsec
    inode = UInt64(status.st_ino)
  }

  /// Whether the content is taken to be that of `other`.
  func hasContent(of other: FileIdentity) -> Bool {
    bytes == other.bytes && modified == other.modified && inode == other.inode
  }
}

/// A regular file that could be opened, with at least one byte.
struct CorpusFile: Sendable {
  let path: String
  let identity: FileIdentity
  /// Of the machine that looks; no part of the identity, for other machines see another one.
  private let device: UInt64
  var count: Int { identity.bytes }

  /// What a name in `data.corpus` begins with where it is not a path.
  static let namePrefix = "corpus:"

  /// The files that `paths` name, in order.
  ///
  /// A folder stands for all regular files in it and in its subfolders, ordered by path, byte by byte;
  /// hidden and empty ones are left out, as are hidden folders. `corpus:NAME` is what
  /// `launch/corpus.sh NAME` fetches. Throws a `CorpusError` for what cannot be used, an empty file that is
  /// named itself included.
  static func all(at paths: [String]) throws(CorpusError) -> [CorpusFile] {
    var files: [CorpusFile] = []
    var seen: Set<[UInt64]> = []
    for given in paths {
      let path = try resolve(given)
      var found: [CorpusFile] = []
      if isFolder(path) {
        for name in try content(of: path) {
          let file = try CorpusFile(path: path + (path.hasSuffix("/") ? "" : "/") + name)
          if file.count > 0 { found.append(file) }
        }
        guard !found.isEmpty else { throw .emptyFolder(path: path) }
      } else {
        found = [try CorpusFile(path: path)]
        guard found[0].count > 0 else { throw .empty(path: path) }
      }
      // The same bytes twice would be trained on and measured on.
      for file in found where !seen.insert([file.device, file.identity.inode]).inserted {
        throw .twice(path: file.path)
      }
      files += found
    }
    return files
  }

  private init(path: String) throws(CorpusError) {
    let descriptor = try Self.open(path)
    defer { close(descriptor) }
    self.path = path
    let status = try Self.status(of: descriptor, path: path)
    identity = FileIdentity(status)
    device = UInt64(status.st_dev)
  }

  /// Opens a file for reading.
  static func open(_ path: String) throws(CorpusError) -> CInt {
    // Without O_NONBLOCK a pipe in a folder would be waited for.
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      if errno == ENOENT { throw .missing(path: path) }
      throw .unreadable(path: path, reason: systemReason())
    }
    return descriptor
  }

  /// The identity of an open regular file.
  static func identity(of descriptor: CInt, path: String) throws(CorpusError) -> FileIdentity {
    FileIdentity(try status(of: descriptor, path: path))
  }

  private static func status(of descriptor: CInt, path: String) throws(CorpusError) -> stat {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw .unreadable(path: path, reason: systemReason())
    }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .notAFile(path: path) }
    return status
  }

  /// The path that `path`, or the name that it is, stands for.
  static func resolve(_ path: String) throws(CorpusError) -> String {
    guard path.hasPrefix(namePrefix) else { return path }
    let name = String(path.dropFirst(namePrefix.count))
    let isName = name.utf8.allSatisfy {
      (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2D
    }
    guard isName, !name.isEmpty else { throw .illegalName(path) }
    let place = "corpora/" + name
    guard access(place, F_OK) == 0 else { throw .notFetched(name: name, path: place) }
    return place
  }

  private static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  /// Paths within `folder` of what `all` says, links to files included and links to folders not.
  private static func content(of folder: String) throws(CorpusError) -> [String] {
    var names: [String] = []
    var rest = [""]
    while let prefix = rest.popLast() {
      let path = prefix.isEmpty ? folder : folder + "/" + prefix
      guard let stream = opendir(path) else {
        throw .unreadable(path: path, reason: systemReason())
      }
      defer { closedir(stream) }
      while true {
        errno = 0
        guard let entry = readdir(stream) else {
          guard errno == 0 else { throw .unreadable(path: path, reason: systemReason()) }
          break
        }
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
        }
        guard !name.hasPrefix(".") else { continue }
        var status = stat()
        let full = path + "/" + name
        let relative = prefix + name
        guard lstat(full, &status) == 0 else {
          throw .unreadable(path: full, reason: systemReason())
        }
        if status.st_mode & S_IFMT == S_IFDIR {
          rest.append(relative + "/")
        } else if stat(full, &status) != 0 || status.st_mode & S_IFMT == S_IFREG {
          // A link that leads nowhere is an error where it is opened, not a file less.
          names.append(relative)
        }
      }
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }
}

/// The text of errno, which a later call may overwrite.
func systemReason() -> String { String(cString: strerror(errno)) }
