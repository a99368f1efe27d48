/** A table in a card of its own. */

import type { ComponentChildren } from "preact";

import { Empty } from "./parts.tsx";
import type { IconName } from "./icon.tsx";

/** A column's heading; a silent one is read aloud only. */
export type Column = string | { label: string; class?: string; silent?: boolean };

function Heading({ column }: { column: Column }) {
  const { label, silent, class: kind } = typeof column === "string" ? { label: column } : column;
  return (
    <th scope="col" class={kind}>
      {silent ? <span class="visually-hidden">{label}</span> : label}
    </th>
  );
}

/** The bare table, for where a card has more in it. ``cards``: on a phone each row is a card of its own. */
export function Grid({ columns = [], cards, children }: { columns?: readonly Column[]; cards?: boolean; children: ComponentChildren }) {
  return (
    <table class={cards ? "cards-on-phone" : ""}>
      {columns.length > 0 && (
        <thead>
          <tr>
            {columns.map((column, at) => (
              <Heading key={at} column={column} />
            ))}
          </tr>
        </thead>
      )}
      <tbody>{children}</tbody>
    </table>
  );
}

export function Table({
  title,
  link,
  columns,
  cards,
  children,
}: {
  title?: string;
  link?: ComponentChildren;
  columns?: readonly Column[];
  cards?: boolean;
  children: ComponentChildren;
}) {
  return (
    <div class="card flush table-scroll">
      {title && (
        <header>
          <h2>{title}</h2>
          {link}
        </header>
      )}
      <Grid columns={columns} cards={cards}>
        {children}
      </Grid>
    </div>
  );
}

/** In the place of a table that has no rows. */
export function Nothing({ icon, title, children }: { icon: IconName; title: string; children?: ComponentChildren }) {
  return (
    <div class="card">
      <Empty icon={icon} title={title}>
        {children}
      </Empty>
    </div>
  );
}
