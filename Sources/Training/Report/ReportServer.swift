// A run's page while the run goes on: a server for browsers of this machine.
import Foundation

/// Answers each request with the page as the run folders then are; the page asks again every few seconds.
package struct ReportServer {
  /// Seconds between two loads of a page.
  private static let reloadSeconds = 5
  /// A browser's request is smaller.
  private static let mostRequestBytes = 1 << 16

  private let folders: [String]
  private let listener: Int32
  /// The port it listens at.
  package let port: Int

  /// Listens at `port` of localhost, or at any that is free where it is 0.
  ///
  /// - Throws: `UserError` where that cannot be, or a folder holds no run.
  package init(folders: [String], port: Int) throws {
    self.folders = folders
    _ = try RunPage(folders: folders)
    guard let asked = UInt16(exactly: port) else {
      throw UserError("--serve \(port); legal values: 0 to 65535, 0 for any that is free")
    }
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var yes: Int32 = 1
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = asked.bigEndian
    // Nobody else's machine.
    address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isListening = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, size) == 0 && listen(listener, 8) == 0
          && getsockname(listener, $0, &size) == 0
      }
    }
    guard isListening else {
      let reason = String(cString: strerror(errno))
      close(listener)
      throw UserError("--serve \(port): \(reason); choose another port")
    }
    self.listener = listener
    self.port = Int(UInt16(bigEndian: address.sin_port))
  }

  /// Answers requests, one after the other, until the process ends.
  package func run() -> Never {
    // A browser that goes away in the middle of an answer is no reason to end.
    signal(SIGPIPE, SIG_IGN)
    while true {
      let connection = accept(listener, nil, nil)
      guard connection >= 0 else { continue }
      // Nor may one that says nothing keep the others waiting.
      var limit = timeval(tv_sec: 2, tv_usec: 0)
      let size = socklen_t(MemoryLayout<timeval>.size)
      setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
      setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
      let handle = FileHandle(fileDescriptor: connection, closeOnDealloc: true)
      if let request = Self.request(from: connection) {
        try? handle.write(contentsOf: answer(request))
      }
    }
  }

  /// The request's head; nil where none comes.
  private static func request(from connection: Int32) -> String? {
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 4096)
    while bytes.count < mostRequestBytes {
      let count = recv(connection, &part, part.count, 0)
      guard count > 0 else { return nil }
      bytes += part[..<count]
      let text = String(decoding: bytes, as: UTF8.self)
      if text.contains("\r\n\r\n") { return text }
    }
    return nil
  }

  private func answer(_ request: String) -> Data {
    let words = request.prefix { $0 != "\r\n" }.split(separator: " ")
    guard words.count == 3, words[0] == "GET" else {
      return Self.answer("405 Method Not Allowed", "text/plain", "only GET\n")
    }
    guard words[1] == "/" else {
      return Self.answer("404 Not Found", "text/plain", "the page is at /\n")
    }
    do {
      let page = try RunPage(folders: folders).html(reloading: Self.reloadSeconds)
      return Self.answer("200 OK", "text/html", page)
    } catch {
      // Such as a folder that was moved away.
      return Self.answer("503 Service Unavailable", "text/plain", "\(error)\n")
    }
  }

  private static func answer(_ status: String, _ type: String, _ body: String) -> Data {
    let head =
      "HTTP/1.1 \(status)\r\nContent-Type: \(type); charset=utf-8\r\n"
      + "Content-Length: \(body.utf8.count)\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    return Data((head + body).utf8)
  }
}
