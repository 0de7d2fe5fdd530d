// Draws each chart of the page by ECharts from the JSON behind it, again if the width or the colour
// scheme changes. html_charts.py says what the JSON has; each function draw... returns the options
// of ECharts, and the height that the chart needs.
// Texts of visitors are only ever shown as text: by SVG text elements and by textContent.
"use strict";
(() => {
  // Heights and widths in pixels.
  const BAR_ROW = 42;       // a bar and the name above it
  const HEAT_ROW = 30;
  const HEAT_NAME = 130;    // most for the names of a heatmap's rows
  const FLOW_ROW = 34;
  const PLOT = 240;         // a chart with axes
  const AXIS_NAMES = 50;    // left of it
  const MOST_GROWTH = 2;    // how much higher a chart may be to fill its card
  const NARROW = 480;
  const FONT = 12;
  const MINUTE = 60, HOUR = 3600, DAY = 86400;

  const counts = new Intl.NumberFormat("en", {maximumFractionDigits: 1});
  const amounts = new Intl.NumberFormat("en", {minimumFractionDigits: 2, maximumFractionDigits: 2});
  const short = new Intl.NumberFormat("en", {notation: "compact", maximumFractionDigits: 1});
  const TIME_LABELS = {year: "{yyyy}", month: "{MMM} {yyyy}", day: "{d} {MMM}", hour: "{HH}:{mm}",
    minute: "{HH}:{mm}", second: "{HH}:{mm}:{ss}", millisecond: "{HH}:{mm}:{ss}"};
  const FORMATS = {
    count: {axis: short.format, full: counts.format},
    money: {axis: short.format, full: amounts.format},
    rate: {axis: short.format, full: (value) => `${counts.format(value)} per second`},
    percent: {
      axis: (value) => `${Math.round(100 * value)}%`,
      full: (value) => `${(100 * value).toFixed(1)}%`,
    },
    seconds: {axis: duration, full: duration},
  };

  function duration(seconds) {
    const size = Math.abs(seconds);
    if (size > 0 && size < 1) return `${Math.round(1000 * seconds)} ms`;
    if (size < MINUTE) return `${counts.format(seconds)} s`;
    if (size < HOUR) return `${counts.format(seconds / MINUTE)} min`;
    if (size < DAY) return `${counts.format(seconds / HOUR)} h`;
    return `${counts.format(seconds / DAY)} d`;
  }

  // The colours of the style sheet for the colour scheme in use.
  function colours() {
    const style = getComputedStyle(document.documentElement);
    const names = ["card", "text", "quiet", "line", "first", "second", "least", "most",
      "inverse-from"];
    return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
  }

  // A tooltip: a title, and a line for each [name, value].
  function tooltip(title, lines) {
    const box = document.createElement("div");
    box.style.cssText = "max-width: 300px; white-space: normal; overflow-wrap: anywhere";
    const head = box.appendChild(document.createElement("div"));
    head.textContent = title;
    for (const [name, value] of lines) {
      const line = box.appendChild(document.createElement("div"));
      line.textContent = name ? `${name}: ` : "";
      line.appendChild(document.createElement("b")).textContent = value;
    }
    return box;
  }

  // The milliseconds are those of a clock in the time zone, as if it were one of UTC.
  function time(milliseconds, zone) {
    const text = new Date(milliseconds).toISOString().replace("T", " ");
    return text.replace(/(:00)?\.\d+Z$/, ` ${zone}`);
  }

  // The distance of the ticks of a duration, in seconds: a round number of the largest unit.
  function durationStep(most) {
    const unit = [DAY, HOUR, MINUTE, 1].find((size) => most >= 2 * size) ?? 0.001;
    const steps = [1, 2, 5, 10, 15, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000, 10000];
    return unit * (steps.find((step) => most / unit / step <= 5) ?? most / unit / 5);
  }

  // Options that all charts with two axes have.
  function plot(colour, format) {
    const label = {color: colour.quiet, fontSize: FONT};
    return {
      grid: {left: 0, right: 6, top: 12, bottom: 4, outerBoundsMode: "same",
        outerBoundsContain: "axisLabel"},
      yAxis: {type: "value", splitNumber: 4, axisLabel: {...label, formatter: format.axis},
        splitLine: {lineStyle: {color: colour.line}}},
      label,
    };
  }

  function drawTime(chart, colour, width) {
    const format = FORMATS[chart.format];
    const {grid, yAxis, label} = plot(colour, format);
    const length = 1000 * chart.seconds;
    const starts = chart.starts;
    const several = chart.series.length > 1;
    const values = chart.series.flatMap((series) => series.values);
    const step = durationStep(Math.max(...values));
    const scales = {
      count: {minInterval: 1},
      percent: {min: 0, max: 1, interval: 0.25},
      seconds: {interval: step, max: step * Math.ceil(Math.max(...values) / step)},
    };
    const slots = (starts[starts.length - 1] - starts[0]) / length + 1;
    return {
      height: PLOT,
      useUTC: true,
      legend: {show: several, left: 0, top: 0, itemWidth: 14, itemHeight: 10,
        textStyle: {color: colour.text, fontSize: FONT}},
      grid: {...grid, top: several ? 32 : grid.top},
      xAxis: {type: "time", min: starts[0], max: starts[starts.length - 1] + length,
        axisLine: {lineStyle: {color: colour.quiet}},
        axisLabel: {...label, hideOverlap: true, formatter: TIME_LABELS}},
      yAxis: {...yAxis, ...scales[chart.format]},
      tooltip: {trigger: "axis", axisPointer: {type: "line"}, formatter: (items) => {
        const start = starts[items[0].dataIndex];
        return tooltip(`${time(start, chart.zone)}, ${duration(chart.seconds)}`, items.map((item) =>
          [item.seriesName, item.value[1] === null ? "none" : format.full(item.value[1])]));
      }},
      // A bar stands in the middle of its time.
      series: chart.series.map((series, number) => ({
        name: series.name,
        type: series.line ? "line" : "bar",
        stack: series.line ? undefined : "all",
        barWidth: Math.min(60, Math.max(1, 0.8 * (width - AXIS_NAMES) / slots)),
        showSymbol: starts.length < 30,
        symbolSize: 5,
        itemStyle: {color: number ? colour.second : colour.first},
        data: series.values.map((value, index) => [starts[index] + length / 2, value]),
      })),
    };
  }

  function drawColumns(chart, colour, width) {
    const {grid, yAxis, label} = plot(colour, FORMATS.count);
    return {
      height: PLOT,
      grid,
      xAxis: {type: "category", data: chart.names, axisTick: {show: false},
        axisLine: {lineStyle: {color: colour.quiet}},
        axisLabel: {...label, interval: 0, rotate: width < NARROW ? 45 : 0}},
      yAxis: {...yAxis, minInterval: 1},
      tooltip: {trigger: "axis", axisPointer: {type: "shadow"}, formatter: ([item]) =>
        tooltip(chart.titles[item.dataIndex], [["", counts.format(item.value)]])},
      series: [{type: "bar", data: chart.values, barCategoryGap: "12%",
        itemStyle: {color: colour.first}}],
    };
  }

  // The name and the value stand above a bar, so that both have the whole width.
  function drawBars(chart, colour, width) {
    const above = {fontSize: FONT, inside: true, margin: 0, interval: 0, verticalAlign: "bottom",
      padding: [0, 0, 10, 0]};
    const longest = Math.max(...chart.texts.map((text) => text.length));
    const axis = {type: "category", inverse: true, axisLine: {show: false}, axisTick: {show: false},
      z: 10};
    return {
      height: BAR_ROW * chart.names.length,
      grid: {left: 0, right: 0, top: 8, bottom: 0, outerBoundsMode: "none"},
      xAxis: {type: "value", show: false, min: 0, max: "dataMax"},
      yAxis: [
        {...axis, data: chart.names, axisLabel: {...above, color: colour.text, align: "left",
          width: Math.max(60, width - 7.5 * longest - 12), overflow: "truncate"}},
        {...axis, data: chart.texts, position: "right",
          axisLabel: {...above, color: colour.text, align: "right"}},
      ],
      tooltip: {trigger: "axis", axisPointer: {type: "none"}, formatter: ([item]) =>
        tooltip((chart.titles.length ? chart.titles : chart.names)[item.dataIndex],
          [["", chart.texts[item.dataIndex]]])},
      series: [{type: "bar", barWidth: 9, barMinHeight: 2,
        data: chart.values.map((value) => value || null),  // no bar for zero
        showBackground: true, backgroundStyle: {color: colour.least, borderRadius: 4},
        itemStyle: {color: colour.first, borderRadius: 4}}],
    };
  }

  function drawHeatmap(chart, colour, width) {
    const most = Math.max(1, ...chart.values.flat());
    const label = {color: colour.text, fontSize: FONT};
    const hidden = {axisLine: {show: false}, axisTick: {show: false}, splitArea: {show: false}};
    return {
      height: HEAT_ROW * chart.rows.length + 28,
      grid: {left: 0, right: 0, top: 6, bottom: 4, outerBoundsMode: "same",
        outerBoundsContain: "axisLabel"},
      xAxis: {type: "category", data: chart.columns, ...hidden,
        axisLabel: {...label, color: colour.quiet, interval: chart.labels ? 0 : "auto",
          overflow: "truncate",
          width: chart.labels ? (width - HEAT_NAME) / chart.columns.length - 10 : undefined}},
      yAxis: {type: "category", data: chart.rows, inverse: true, ...hidden,
        axisLabel: {...label, interval: 0, width: HEAT_NAME - 10, overflow: "truncate"}},
      visualMap: {show: false, min: 0, max: most, inRange: {color: [colour.least, colour.most]}},
      tooltip: {formatter: ({value: [column, row, number]}) =>
        tooltip(`${chart.rows[row]}, ${chart.columns[column]}`, [["", counts.format(number)]])},
      series: [{
        type: "heatmap",
        itemStyle: {borderColor: colour.card, borderWidth: 2, borderRadius: 4},
        data: chart.values.flatMap((numbers, row) => numbers.map((number, column) => ({
          value: [column, row, number],
          label: {show: chart.labels, fontSize: FONT,
            formatter: () => (number < 10000 ? counts : short).format(number),
            color: number > most * colour["inverse-from"] ? colour.card : colour.text},
        }))),
      }],
    };
  }

  // Each name has a node on both sides: as an origin and as a target.
  function drawFlows(chart, colour, width) {
    const from = [...new Set(chart.links.map(([name]) => name))];
    const to = [...new Set(chart.links.map(([, name]) => name))];
    const node = (side, position, align) => (name) => ({
      name: `${side} ${name}`,
      itemStyle: {color: side === "from" ? colour.first : colour.second},
      label: {position, align},
    });
    return {
      height: FLOW_ROW * Math.max(from.length, to.length),
      tooltip: {formatter: ({data, dataType, name, value}) => dataType === "edge"
        ? tooltip(`${data.source.slice(5)} → ${data.target.slice(3)}`, [["", counts.format(value)]])
        : tooltip(name.replace(/^(from|to) /, ""), [["", counts.format(value)]])},
      series: [{
        type: "sankey",
        left: 0, right: 0, top: 6, bottom: 6,
        nodeWidth: 8, nodeGap: 10, draggable: false,
        emphasis: {focus: "adjacency"},
        label: {color: colour.text, fontSize: FONT, width: width / 2 - 24, overflow: "truncate",
          formatter: ({name}) => name.replace(/^(from|to) /, "")},
        lineStyle: {color: colour.first, opacity: 0.25},
        data: [...from.map(node("from", "right", "left")), ...to.map(node("to", "left", "right"))],
        links: chart.links.map(([source, target, value]) =>
          ({source: `from ${source}`, target: `to ${target}`, value})),
      }],
    };
  }

  const DRAW = {time: drawTime, bars: drawBars, columns: drawColumns, heatmap: drawHeatmap,
    flows: drawFlows};

  // Draws a chart, or draws it again if it has an instance of ECharts.
  function draw(element, chart, instance) {
    const colour = colours();
    const {height, tooltip: shown, ...option} =
      DRAW[chart.kind](chart, colour, element.clientWidth);
    element.style.minHeight = `${height}px`;
    element.style.maxHeight = `${MOST_GROWTH * height}px`;
    instance ??= echarts.init(element, null, {renderer: "svg"});
    instance.resize();
    instance.setOption({
      animation: false,
      textStyle: {fontFamily: getComputedStyle(document.body).fontFamily},
      tooltip: {confine: true, backgroundColor: colour.card, borderColor: colour.line,
        textStyle: {color: colour.text, fontSize: 13}, ...shown},
      ...option,
    }, true);
    return instance;
  }

  function start(element) {
    const chart = JSON.parse(element.nextElementSibling.textContent);
    let width = element.clientWidth;
    const instance = draw(element, chart);
    const again = () => draw(element, chart, instance);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    new ResizeObserver(() => {
      if (element.clientWidth === width) return instance.resize();
      width = element.clientWidth;
      again();
    }).observe(element);
  }

  document.querySelectorAll(".chart").forEach(start);
})();
