// What a text begins with.
import Checkpointing
import Foundation

/// The start of a text that a model is to continue.
public enum Prompt {
  /// `text`, or the file at `path`, or what standard input has where there is neither, or `path` is `-`.
  ///
  /// - Throws: `UserError` where both are given or the prompt is empty, `CheckpointError` where the file cannot be read.
  public static func read(text: String?, path: String?) throws -> [UInt8] {
    let bytes =
      switch (text, path) {
      case (.some, .some): throw UserError("--prompt and --prompt-file; give one of them")
      case (let text?, nil): Array(text.utf8)
      case (nil, let path?) where path != "-": try SmallFile.read(path, limit: 1 << 30)
      case (nil, _): Array(FileHandle.standardInput.readDataToEndOfFile())
      }
    guard !bytes.isEmpty else {
      throw UserError("the prompt is empty; give at least a byte with --prompt or --prompt-file")
    }
    return bytes
  }
}
