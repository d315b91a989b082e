// Tells the program which commit it is built from. `Context.gitInformation` in Package.swift would be shorter, but
// SwiftPM keeps what it said at an earlier commit for as long as the manifest does not change.
import Foundation
import PackagePlugin

@main
struct BuiltFrom: BuildToolPlugin {
  /// Writes `builtFromCommit`: 40 digits, with `+` for uncommitted changes; "unknown" outside a git checkout.
  func createBuildCommands(context: PluginContext, target: Target) throws -> [Command] {
    let output = context.pluginWorkDirectoryURL
    // An unchanged file is left alone, so that nothing is built again for it.
    let script = #"""
      commit=$(git -C "$1" describe --always --abbrev=40 --dirty=+ --exclude='*' 2>/dev/null) \
        || commit=unknown
      text="let builtFromCommit = \"$commit\""
      [ "$(cat "$2/Commit.swift" 2>/dev/null)" = "$text" ] || echo "$text" >"$2/Commit.swift"
      """#
    return [
      .prebuildCommand(
        displayName: "which commit this is", executable: URL(fileURLWithPath: "/bin/sh"),
        arguments: ["-c", script, "sh", context.package.directoryURL.path, output.path],
        outputFilesDirectory: output)
    ]
  }
}
