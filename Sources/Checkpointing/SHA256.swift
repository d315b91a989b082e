// SHA-256 by the system's OpenSSL, which uses the processor's instructions for it where there are any.
import COpenSSL

/// A SHA-256 in the making (FIPS 180-4), fed in pieces.
public final class SHA256 {
  private let context: OpaquePointer

  /// The hash of nothing so far.
  public init() {
    guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1
    else { preconditionFailure("OpenSSL has no SHA-256") }
    self.context = context
  }

  deinit { EVP_MD_CTX_free(context) }

  /// Adds bytes.
  public func update(_ bytes: UnsafeRawBufferPointer) {
    precondition(
      EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1, "OpenSSL refused to hash")
  }

  /// Adds bytes.
  public func update(_ bytes: some Collection<UInt8>) {
    Array(bytes).withUnsafeBytes { update($0) }
  }

  /// The 64 lower-case hexadecimal digits of everything added; to be called once.
  public func finish() -> String {
    var digest = [UInt8](repeating: 0, count: 32)
    precondition(EVP_DigestFinal_ex(context, &digest, nil) == 1, "OpenSSL refused to hash")
    let digits = Array("0123456789abcdef".utf8)
    return String(
      decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  /// The digits for one run of bytes.
  public static func digits(of bytes: some Collection<UInt8>) -> String {
    let hash = SHA256()
    hash.update(bytes)
    return hash.finish()
  }
}
