// Numbers, times and money as people read them. Pure functions, no page.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function count(value) {
  if (value === null || value === undefined) return "–";
  return value >= 1_000_000 ? short.format(value) : whole.format(value);
}

export function rate(value) {
  if (!value) return "0";
  if (value >= 10_000) return short.format(value);
  return value >= 100 ? whole.format(value) : value.toFixed(1);
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? whole.format(value) : value.toFixed(1)} ${units[unit]}`;
}

export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return `${Number(ms).toFixed(2)} ms`;
  if (ms < 1000) return `${ms < 10 ? Number(ms).toFixed(1) : Math.round(ms)} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

/** Coarse: one unit, for columns that must not dance. */
export function age(ms) {
  if (ms === null || ms === undefined) return "–";
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function ago(time) {
  return `${age(Date.now() - Date.parse(time))} ago`;
}

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** 14:02:11.123, and the day when it is not today. */
export function clock(time) {
  const date = new Date(time);
  const millis = String(date.getMilliseconds()).padStart(3, "0");
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toISOString().slice(0, 10)} `;
  return `${day}${clockFormat.format(date)}.${millis}`;
}

/** Money comes as exact decimal text; six digits behind the point are enough to look at. */
export function usd(text) {
  const value = Number(text);
  if (!value) return "$0";
  return value < 0.01 ? `$${value.toFixed(6)}` : `$${value.toFixed(2)}`;
}

export function percent(value) {
  return `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} %`;
}

/** JSON indented, other text as it is. */
export function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
