// A model folder as transformers saves it, taken apart so that tests can change any part of it.
import Foundation
import TestSupport
import Testing

struct ModelFolder {
  struct Tensor {
    var type: String
    var shape: [Int]
    var data: Data
  }

  var config: [String: Any]
  var tensors: [String: Tensor] = [:]

  /// Takes the folder at `path` apart.
  init(_ path: String) throws {
    func read(_ name: String) throws -> Data {
      try Data(contentsOf: URL(fileURLWithPath: path + "/" + name))
    }
    config = try #require(
      JSONSerialization.jsonObject(with: read("config.json")) as? [String: Any])
    let file = try read("model.safetensors")
    let length = file.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    let header = try #require(
      JSONSerialization.jsonObject(with: file[8..<8 + length]) as? [String: Any])
    for (name, entry) in header where name != "__metadata__" {
      let entry = try #require(entry as? [String: Any])
      let place = try #require(entry["data_offsets"] as? [Int])
      tensors[name] = Tensor(
        type: try #require(entry["dtype"] as? String),
        shape: try #require(entry["shape"] as? [Int]),
        data: Data(file[8 + length + place[0]..<8 + length + place[1]]))
    }
  }

  /// The file of the tensors; `end` is added to where the last of them is said to end.
  func modelFile(end: Int = 0) throws -> Data {
    var header: [String: Any] = ["__metadata__": ["format": "pt"]]
    var data = Data()
    let names = tensors.keys.sorted()
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      let start = data.count
      data += tensor.data
      header[name] = [
        "dtype": tensor.type, "shape": tensor.shape,
        "data_offsets": [start, data.count + (name == names.last ? end : 0)],
      ]
    }
    let json = try JSONSerialization.data(withJSONObject: header)
    return withUnsafeBytes(of: UInt64(json.count).littleEndian) { Data($0) } + json + data
  }

  /// Writes it to the folder `path`.
  func write(to path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    let url = URL(fileURLWithPath: path)
    try JSONSerialization.data(withJSONObject: config).write(
      to: url.appendingPathComponent("config.json"))
    try modelFile().write(to: url.appendingPathComponent("model.safetensors"))
  }
}
