// Advice on how an image is built, from its own layers and those of earlier pushes.
import type { ImageAdvice } from "../core/image/advice/advise.ts";
import type { ResolvedImage } from "./rebase-engine.ts";

/** The image to look at and earlier pushes of it, in any order. */
interface AdviceRequest {
  readonly image: string;
  readonly earlier: readonly string[];
  readonly platform?: string;
}

/** The advice and the images it rests on, earlier ones newest first. */
export interface AdviceSummary extends ImageAdvice {
  readonly image: ResolvedImage;
  readonly earlier: readonly ResolvedImage[];
}

/** Looks at how images are built, without writing anything. */
export interface ImageAdvisor {
  /** @throws ImageError, RegistryError */
  advise(request: AdviceRequest): Promise<AdviceSummary>;
}
