// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]
// Leaf loops are fast in debug builds too; SwiftPM compiles C at -O0 there otherwise.
let fast: [CSetting] = [
  .unsafeFlags(["-O3", "-fno-math-errno", "-Wall", "-Wextra", "-Werror"])
]
// The program carries the Swift runtime, so that a node needs no toolchain. Only the program: a test
// bundle loads XCTest, which brings a Swift library of its own. So no test depends on the program's
// target, which would hand it these flags; building the tests builds all products anyway.
let runtimeInside: [LinkerSetting] = [
  .unsafeFlags([
    "-static-stdlib", "-Xlinker", "--start-group", "-lFoundation",
    "-lFoundationInternationalization",
    "-lFoundationEssentials", "-lCoreFoundation", "-l_FoundationICU", "-l_FoundationCShims",
    "-l_FoundationCollections", "-Xlinker", "--end-group",
  ])
]

let package = Package(
  name: "reformer-train",
  products: [.executable(name: "reformer-train", targets: ["reformer-train"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
  ],
  targets: [
    .systemLibrary(
      name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(name: "COpenMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
    .systemLibrary(
      name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .target(name: "CKernels", exclude: ["bodies"], cSettings: fast),
    .target(name: "CComm", dependencies: ["COpenMPI"], cSettings: fast),
    .target(
      name: "Compute", dependencies: ["CKernels", "COpenBLAS"], swiftSettings: strict),
    .target(name: "Attention", dependencies: ["Compute"], swiftSettings: strict),
    .target(name: "Reformer", dependencies: ["Attention", "Compute"], swiftSettings: strict),
    .target(name: "Corpus", swiftSettings: strict),
    .target(name: "Communication", dependencies: ["CComm", "Compute"], swiftSettings: strict),
    .target(name: "Optimizers", dependencies: ["Compute", "CKernels"], swiftSettings: strict),
    .target(
      name: "Checkpointing",
      dependencies: ["Compute", "COpenSSL"],
      swiftSettings: strict),
    .target(
      name: "Training",
      dependencies: [
        "Reformer", "Attention", "Compute", "Corpus", "Communication", "Optimizers",
        "Checkpointing", .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "reformer-train",
      dependencies: [
        "Training", "Communication", "Compute", "Corpus", "Reformer",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict,
      linkerSettings: runtimeInside,
      plugins: ["BuiltFrom"]),
    .plugin(name: "BuiltFrom", capability: .buildTool()),
    .target(
      name: "TestSupport", dependencies: ["Communication", "Compute"], path: "Tests/TestSupport",
      swiftSettings: strict),
    .target(
      name: "KernelGolden", dependencies: ["CKernels"], path: "Tests/KernelGolden",
      exclude: ["golden.txt", "main.c"], cSettings: fast),
    .testTarget(
      name: "ComputeTests", dependencies: ["Compute", "CKernels", "KernelGolden", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "AttentionTests", dependencies: ["Attention", "Compute", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "ReformerTests",
      dependencies: ["Reformer", "Attention", "CKernels", "Compute", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "CorpusTests", dependencies: ["Corpus", "TestSupport"], swiftSettings: strict),
    .executableTarget(
      name: "rank-check", dependencies: ["Communication", "Compute"], swiftSettings: strict),
    .testTarget(
      name: "CommunicationTests",
      dependencies: ["Communication", "Compute", "TestSupport", "rank-check"],
      swiftSettings: strict),
    .testTarget(
      name: "OptimizersTests", dependencies: ["Optimizers", "Compute", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "CheckpointingTests", dependencies: ["Checkpointing", "Compute", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "TrainingTests",
      dependencies: [
        "Training", "Attention", "CKernels", "Communication", "Compute", "Corpus", "Reformer",
        "Checkpointing", "TestSupport",
      ],
      exclude: ["Fixtures", "Golden"],
      swiftSettings: strict),
    // What needs nothing but the program itself, so that it compiles beside the trainer.
    .testTarget(name: "ProgramTests", dependencies: ["TestSupport"], swiftSettings: strict),
    .testTarget(name: "LaunchTests", dependencies: ["TestSupport"], swiftSettings: strict),
  ]
)
