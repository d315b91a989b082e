// What commands print.
import Foundation

/// Prints one line about an error.
func complain(_ text: String) {
  FileHandle.standardError.write(Data("error: \(text)\n".utf8))
}

/// Prints a value as one JSON object with snake_case keys; `OutputSchemas` say what it has.
func printJSON(_ value: some JSONOutput) throws {
  let encoder = JSONEncoder()
  encoder.keyEncodingStrategy = .convertToSnakeCase
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
