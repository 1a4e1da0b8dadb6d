// What is remembered in this browser; where it forbids that, for as long as the page is open.

const fallback = new Map();

function safely(kind, action) {
  try {
    return action(globalThis[kind]);
  } catch {
    return undefined; // storage is switched off or full
  }
}

export function remembered(kind, name) {
  return safely(kind, (storage) => storage.getItem(name)) ?? fallback.get(name) ?? "";
}

export function remember(kind, name, value) {
  fallback.set(name, value);
  safely(kind, (storage) => (value ? storage.setItem(name, value) : storage.removeItem(name)));
}
