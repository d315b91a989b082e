// How long a rank waits for one that has more to do: some have a window more than others, and some none.
import Communication

extension Communicator {
  /// Makes this rank wait for the others up to `limit` seconds, 0 for ever, or as long as the rank with most windows may
  /// take for them, where that is more.
  ///
  /// `windows` are shared out evenly; this rank has had `own` of them and has taken `seconds`. A rank without any goes by
  /// the `operations` of one, of which a core that does no billion in a second is as good as none.
  package func limitWaits(
    to limit: Double, own: Int, seconds: Double, windows: Int,
    operations: @autoclosure () -> Double
  ) {
    let most = Double((windows + size - 1) / size)
    limitWaits(
      to: limit, orOwnWork: own > 0 ? seconds * most / Double(own) : most * operations() / 1e9)
  }
}
