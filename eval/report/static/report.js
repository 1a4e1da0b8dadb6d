'use strict';
document.documentElement.classList.add('js');

// Click on a heading: sort the rows of each group by that column.
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector('button');
    if (!button) return;
    button.addEventListener('click', () => {
      const falling = head.getAttribute('aria-sort') !== 'descending';
      heads.forEach(other => other.hasAttribute('aria-sort') && other.setAttribute('aria-sort', 'none'));
      head.setAttribute('aria-sort', falling ? 'descending' : 'ascending');
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter(row => !row.classList.contains('set'));
        const value = row => {
          const cell = row.cells[column];
          const number = parseFloat(cell.dataset.value);
          return Number.isNaN(number) ? cell.textContent : number;
        };
        rows.sort((a, b) => {
          const [x, y] = [value(a), value(b)];
          const order = typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y));
          return falling ? -order : order;
        });
        body.append(...rows);
      }
    });
  });
}

// Buttons that choose which of several charts is shown.
for (const group of document.querySelectorAll('.switch')) {
  const buttons = [...group.querySelectorAll('button')];
  const show = chosen => {
    for (const button of buttons) {
      button.setAttribute('aria-pressed', String(button === chosen));
      document.getElementById(button.dataset.shows).hidden = button !== chosen;
    }
  };
  buttons.forEach(button => button.addEventListener('click', () => show(button)));
}

// On paper nothing can be opened.
let closed = [];
addEventListener('beforeprint', () => {
  closed = [...document.querySelectorAll('details:not([open])')];
  closed.forEach(element => { element.open = true; });
});
addEventListener('afterprint', () => closed.forEach(element => { element.open = false; }));
