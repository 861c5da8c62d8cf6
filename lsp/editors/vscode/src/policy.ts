// Where a policy is, by the rule of the compiler: the nearest folder with `modules/`, `nodes.vgo` or `roles.vgo`.
import { statSync } from "node:fs";
import * as path from "node:path";

/** Asks whether a file or a folder is there. */
export interface Disk {
  isFile(path: string): boolean;
  isFolder(path: string): boolean;
}

const kind = (file: string) => statSync(file, { throwIfNoEntry: false });

/** The disk of this machine. */
export const thisDisk: Disk = {
  isFile: (file) => kind(file)?.isFile() ?? false,
  isFolder: (folder) => kind(folder)?.isDirectory() ?? false,
};

/** The root of the policy that a file is part of. */
export function policyRoot(file: string, disk: Disk): string | undefined {
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const at = (name: string) => path.join(folder, name);
    if (disk.isFolder(at("modules")) || disk.isFile(at("nodes.vgo")) || disk.isFile(at("roles.vgo"))) return folder;
    if (path.dirname(folder) === folder) return undefined;
  }
}

/** Whether a file is below the `templates/` of a policy. */
export function isTemplate(file: string, disk: Disk): boolean {
  // most files have no such folder above them, and then the disk is not asked
  if (!path.dirname(file).split(path.sep).includes("templates")) return false;
  const root = policyRoot(file, disk);
  return root !== undefined && path.relative(root, file).startsWith(`templates${path.sep}`);
}
