// From the name in a config to the layer that does the work.

extension AttentionKind {
  /// The layer of this kind with the given sizes.
  public func layer(
    lsh: LSHAttentionSizes, local: LocalAttentionSizes, fullSharesQueryKey: Bool
  ) -> any AttentionLayer {
    switch self {
    case .full: FullAttention(sharesQueryKey: fullSharesQueryKey)
    case .local: LocalAttention(local)
    case .lsh: LSHAttention(lsh)
    }
  }
}
