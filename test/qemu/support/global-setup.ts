import { buildImages } from '../../../images/build.ts';

/** The images of this checkout are there, under their names by hand too; a second when nothing changed. */
export default async function setup(): Promise<void> {
  await buildImages({ report: (message) => console.log(`images: ${message}`) });
}
