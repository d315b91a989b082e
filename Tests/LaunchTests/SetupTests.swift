// launch/setup.sh where Swift is missing: a stand-in toolchain, signed by a key made here, from a server on this
// machine. What it does with packages is apt-get's business and left out.
import Foundation
import TestSupport
import Testing

@Suite("Setup", .serialized, .needs(.tools(["python3", "gpg", "curl", "mpirun"])))
final class SetupTests {
  let standIns: StandIns
  let server: Process
  let site: String
  let key: String

  private static let archive =
    "swift-6.3.1-release/debian12/swift-6.3.1-RELEASE/swift-6.3.1-RELEASE-debian12.tar.gz"

  init() throws {
    standIns = try StandIns()
    // Everything on PATH that the script needs, but no Swift.
    for folder in ["/usr/bin", "/bin", "/usr/sbin"] {
      for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      where !name.hasPrefix("swift") {
        try? FileManager.default.createSymbolicLink(
          atPath: standIns.folder.path("bin/\(name)"), withDestinationPath: "\(folder)/\(name)")
      }
    }
    for name in ["dpkg-query", "uname"] {
      try? FileManager.default.removeItem(atPath: standIns.folder.path("bin/\(name)"))
    }
    try standIns.add("dpkg-query", "echo installed")
    try standIns.add("uname", "echo x86_64")
    // Signs the toolchain, beside another key that is none of ours.
    let made = try ProgramRun(
      executable: try standIns.add(
        "make-site",
        """
        set -e
        cd "$1"
        mkdir -p "toolchain/usr/bin" "site/$(dirname "$2")" --mode=700 gnupg
        printf '#!/bin/sh\\necho Swift version 6.3.1\\n' >toolchain/usr/bin/swift
        chmod +x toolchain/usr/bin/swift
        tar -czf "site/$2" toolchain
        export GNUPGHOME=$1/gnupg
        for name in release other; do
          gpg --batch --quiet --passphrase '' --quick-generate-key $name@example.invalid ed25519 sign never
        done
        gpg --batch --quiet --armor --export >site/keys.asc
        gpg --batch --quiet --local-user release@example.invalid --output "site/$2.sig" --detach-sign "site/$2"
        gpg --batch --quiet --local-user other@example.invalid --output site/other.sig --detach-sign "site/$2"
        gpg --batch --with-colons --list-keys release@example.invalid | sed -n 's/^fpr:*\\([0-9A-F]*\\):/\\1/p' >key
        gpgconf --kill all
        """), arguments: [standIns.folder.path, Self.archive])
    try #require(made.status == 0, "\(made.output)")
    key = try #require(standIns.lines("key").first)

    server = Process()
    server.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    server.arguments = [
      "python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory",
      standIns.folder.path("site"),
    ]
    let pipe = Pipe()
    server.standardOutput = pipe
    server.standardError = FileHandle.nullDevice
    try server.run()
    let said = String(decoding: pipe.fileHandleForReading.availableData, as: UTF8.self)
    site = "http://127.0.0.1:\(try #require(said.firstMatch(of: /port (\d+)/)?.1))"
  }

  deinit {
    // Signals that can be blocked are, on the threads of tests, and so in what they start.
    kill(server.processIdentifier, SIGKILL)
  }

  private var prefix: String { standIns.folder.path("prefix") }

  private func setup(_ variables: [String: String] = [:]) throws -> ProgramRun {
    let release = try standIns.folder.write("os-release", text: "ID=debian\nVERSION_ID=\"12\"\n")
    let usual = [
      "PATH": standIns.folder.path("bin"), "SWIFT_PREFIX": prefix, "SWIFT_SITE": site,
      "SWIFT_KEYS": site + "/keys.asc", "SWIFT_KEY": key, "OS_RELEASE": release,
      "HOME": standIns.folder.path, "no_proxy": "127.0.0.1",
    ]
    return try ProgramRun(
      script: "setup.sh", [], environment: usual.merging(variables) { $1 })
  }

  private func expectNothingInstalled(
    _ run: ProgramRun, status: Int32, _ message: String, at place: SourceLocation = #_sourceLocation
  ) {
    #expect(run.status == status, "\(run.output)", sourceLocation: place)
    #expect(run.output.contains(message), "\(run.output)", sourceLocation: place)
    #expect(!FileManager.default.fileExists(atPath: prefix), sourceLocation: place)
  }

  @Test("a toolchain with the right signature is installed, once")
  func installs() throws {
    let run = try setup()
    #expect(run.status == 0, "\(run.output)")
    #expect(run.output.contains("ready (Swift 6.3"), "\(run.output)")
    #expect(run.output.contains("export PATH=$PATH:\(prefix)/bin"), "\(run.output)")
    let again = try setup(["PATH": standIns.folder.path("bin") + ":\(prefix)/bin"])
    #expect(again.status == 0 && !again.output.contains("curl"), "\(again.output)")
  }

  @Test("a toolchain that is not what was signed, or signed by another key, is not installed")
  func signatures() throws {
    let other = try Data(contentsOf: URL(fileURLWithPath: standIns.folder.path("site/other.sig")))
    let path = standIns.folder.path("site/" + Self.archive)
    let right = try Data(contentsOf: URL(fileURLWithPath: path + ".sig"))
    try other.write(to: URL(fileURLWithPath: path + ".sig"))
    expectNothingInstalled(try setup(), status: 1, "is not signed by key \(key)")
    try right.write(to: URL(fileURLWithPath: path + ".sig"))
    try Data("something else".utf8).write(to: URL(fileURLWithPath: path))
    expectNothingInstalled(try setup(), status: 1, "is not signed by key \(key)")
    try Data().write(to: URL(fileURLWithPath: path + ".sig"))
    expectNothingInstalled(try setup(), status: 1, "is not signed by key \(key)")
  }

  @Test("without a network, a key or a known distribution it says so and installs nothing")
  func failures() throws {
    // Port 9 discards, where anything listens there at all.
    let nowhere = "http://127.0.0.1:9"
    expectNothingInstalled(
      try setup(["SWIFT_SITE": nowhere]), status: 1, "could not download \(nowhere)/swift-6.3.1")
    expectNothingInstalled(
      try setup(["SWIFT_KEYS": site + "/none.asc"]), status: 1,
      "could not download \(site)/none.asc")
    let strange = try standIns.folder.write("strange", text: "ID=plan9\nVERSION_ID=4\n")
    expectNothingInstalled(
      try setup(["OS_RELEASE": strange]), status: 2, "no known toolchain for plan9 4; get Swift")
  }

  @Test("a Swift that is too old is left to the user")
  func tooOld() throws {
    try standIns.add("swift", "echo Swift version 5.9")
    expectNothingInstalled(try setup(), status: 2, "Swift 5.9 is too old; get Swift 6.2")
  }
}
