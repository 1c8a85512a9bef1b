"""The page's style sheet: light and dark, print, no fonts from elsewhere."""

CSS = """
:root{--ink:#1c2430;--paper:#fff;--muted:#66707f;--line:#dfe3e9;--accent:#2457a6;--good:#0b6b3a;
--goodbg:#e9f6ee;--bad:#9c1f1f;--badbg:#fdeeee;--soft:#f5f7fa}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--paper:#14181e;--muted:#98a2b1;--line:#303844;
--accent:#7fa8ec;--good:#7fd6a4;--goodbg:#12291c;--bad:#f0a0a0;--badbg:#331818;--soft:#1b2129}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1320px;margin:0 auto;padding:28px 24px 64px}
h1{font-size:25px;margin:0 0 18px}h2{font-size:19px;margin:38px 0 10px;padding-bottom:4px;
border-bottom:1px solid var(--line)}h3{font-size:15px;margin:22px 0 8px}
p{margin:8px 0;max-width:76ch}.muted{color:var(--muted);font-size:13px}
.good,.bad{padding:9px 13px;border-radius:6px;max-width:none}
.good{background:var(--goodbg);color:var(--good)}.bad{background:var(--badbg);color:var(--bad)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;width:100%}
th,td{padding:4px 8px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{color:var(--muted);font-weight:600;white-space:nowrap}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th.n{white-space:normal}
tbody tr:hover{background:var(--soft)}code{font-size:12px;word-break:break-all}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:8px;margin:0}
.facts div{background:var(--soft);border-radius:6px;padding:8px 12px}
dt{color:var(--muted);font-size:12px}dd{margin:0;font-weight:600;overflow-wrap:anywhere}
svg{max-width:100%;height:auto;display:block;margin:4px 0}
svg text{fill:var(--ink);font-size:12px;font-variant-numeric:tabular-nums}
svg .muted{fill:var(--muted)}svg .small{font-size:11px}svg .strong{fill:var(--paper)}
.heat,.bar{fill:var(--accent)}.frame{fill:var(--soft);stroke:var(--line)}
.spike{stroke:var(--accent);fill:none}
@media print{main{max-width:none;padding:0}h2{break-after:avoid}}
"""
