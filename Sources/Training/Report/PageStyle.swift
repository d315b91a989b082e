// How a page about runs looks, in the light and in the dark, on a wall and on a phone.

/// The style sheet; it must not hold what XML gives a meaning.
enum PageStyle {
  static let text = """

    :root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --faint: #6b7280; --line: #e5e7eb;
      --run0: #1d4ed8; --run1: #c2410c; --run2: #047857; --run3: #a21caf; --run4: #92700c; --run5: #475569; }
    @media (prefers-color-scheme: dark) { :root { --page: #14171c; --ink: #e5e7eb; --faint: #9ca3af; --line: #2d333b;
      --run0: #7aa2ff; --run1: #fb923c; --run2: #4ade80; --run3: #e879f9; --run4: #eab308; --run5: #94a3b8; } }
    * { box-sizing: border-box; }
    body { margin: 0 auto; max-width: 1240px; padding: 16px; background: var(--page); color: var(--ink);
      font: 15px/1.45 system-ui, sans-serif; }
    h1 { font-size: 22px; margin: 8px 0; overflow-wrap: anywhere; }
    h2 { font-size: 16px; margin: 16px 0 4px; }
    small, figcaption, .note { color: var(--faint); font-weight: normal; font-size: 13px; }
    .name { margin-right: 12px; color: var(--run); }
    .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 8px 32px; }
    figure { margin: 0; min-width: 0; }
    figure svg { display: block; width: 100%; height: auto; }
    figure img.pixels { display: block; width: 100%; max-width: 60rem; image-rendering: pixelated; }
    figure svg.key { display: inline-block; width: 24px; height: 10px; }
    figcaption span { margin-right: 12px; white-space: nowrap; }
    svg text { font: 12px system-ui, sans-serif; fill: var(--faint); }
    svg path { fill: none; stroke-linejoin: round; }
    .grid { stroke: var(--line); }
    .level { stroke: var(--faint); stroke-dasharray: 6 3; }
    text.level { stroke: var(--page); stroke-width: 4px; stroke-dasharray: none; paint-order: stroke; }
    .raw { stroke: var(--run); stroke-opacity: 0.35; stroke-width: 0.6; }
    .main { stroke: var(--run); stroke-width: 2; }
    .dashed { stroke: var(--run); stroke-width: 1.5; stroke-dasharray: 5 3; }
    .dotted { stroke: var(--run); stroke-width: 1.5; stroke-dasharray: 1.5 3; }
    .points { stroke: var(--page); fill: var(--run); }
    path.points { stroke: var(--run); stroke-width: 6; stroke-linecap: round; stroke-dasharray: 0 11; }
    .rings { stroke: var(--run); stroke-width: 1.5; fill: none; }
    path.rings { stroke-dasharray: 3 8; stroke-width: 5; }
    .run0 { --run: var(--run0); } .run1 { --run: var(--run1); } .run2 { --run: var(--run2); }
    .run3 { --run: var(--run3); } .run4 { --run: var(--run4); } .run5 { --run: var(--run5); }
    .wide { overflow-x: auto; }
    table { border-collapse: collapse; font-size: 14px; }
    th, td { text-align: left; vertical-align: top; padding: 3px 16px 3px 0; border-bottom: 1px solid var(--line); }
    th { color: var(--faint); font-weight: normal; }
    td { white-space: pre-wrap; overflow-wrap: break-word; }
    pre { overflow-x: auto; font-size: 13px; }
    summary { margin-top: 12px; cursor: pointer; }

    """
}
